//! Which project each keyless front door acts for, and what sessions are made of.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use crate::otp::ids::parse_project_name;
use crate::otp::target::is_region;

/// The doors that carry no API key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Doors {
    pub login: Door,
    #[serde(rename = "1port")]
    pub oneport: Door,
    pub mobile: Door,
    pub supabase: Supabase,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Door {
    project: String,
    default_region: String,
}

impl Door {
    /// The project it acts for; a door without one is closed.
    #[must_use]
    pub fn project(&self) -> Option<Uuid> {
        parse_project_name(&self.project)
    }

    /// Where numbers in national form are from; without one only E.164 is taken.
    #[must_use]
    pub fn default_region(&self) -> Option<&str> {
        Some(self.default_region.as_str()).filter(|region| !region.is_empty())
    }

    fn problems(&self, name: &str) -> [Option<String>; 2] {
        let region = self.default_region().filter(|region| !is_region(region));
        [
            not_a_project(name, &self.project),
            region.map(|region| format!("doors.{name}.default_region must be a region such as IR, not {region:?}")),
        ]
    }
}

/// Supabase Auth's hooks, which are signed instead of carrying a key.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Supabase {
    project: String,
    secrets: Vec<SecretString>,
}

impl Supabase {
    #[must_use]
    pub fn project(&self) -> Option<Uuid> {
        parse_project_name(&self.project)
    }

    /// The bare `whsec_…` secrets, however they were pasted: "v1,whsec_a", "v1,whsec_a|v1,whsec_b", or split at commas.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretString> {
        let parts = self.secrets.iter().flat_map(|secrets| secrets.expose_secret().split(['|', ',']));
        parts.map(str::trim).filter(|part| part.starts_with("whsec_")).map(SecretString::from).collect()
    }

    fn problems(&self) -> [Option<String>; 2] {
        let is_unsigned = self.project().is_some() && self.secrets().is_empty();
        [
            not_a_project("supabase", &self.project),
            is_unsigned.then(|| "doors.supabase.secrets is missing: paste the hook's v1,whsec_… secret".to_owned()),
        ]
    }
}

impl Doors {
    pub(super) fn validate(&self) -> Vec<String> {
        let doors = [("login", &self.login), ("1port", &self.oneport), ("mobile", &self.mobile)];
        let problems = doors.into_iter().flat_map(|(name, door)| door.problems(name));
        problems.chain(self.supabase.problems()).flatten().collect()
    }
}

fn not_a_project(door: &str, project: &str) -> Option<String> {
    let is_wrong = !project.is_empty() && parse_project_name(project).is_none();
    is_wrong.then(|| format!("doors.{door}.project must be a project's id such as PRJ_…, not {project:?}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TokenAlgorithm {
    EdDSA,
    HS256,
}

/// What tokens say and how they are signed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sessions {
    issuer: String,
    pub algorithm: TokenAlgorithm,
    secret: SecretString,
}

/// The shortest shared secret: as many bits as the hash has (RFC 7518, section 3.2).
const SHORTEST_SECRET: usize = 32;

impl Sessions {
    /// The `iss` of tokens, where it is not the public URL.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        Some(self.issuer.as_str()).filter(|issuer| !issuer.is_empty())
    }

    /// What HS256 tokens are signed with.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretString> {
        Some(&self.secret).filter(|_| self.algorithm == TokenAlgorithm::HS256)
    }

    pub(super) fn validate(&self) -> Vec<String> {
        let length = self.secret.expose_secret().len();
        let is_short = self.algorithm == TokenAlgorithm::HS256 && length < SHORTEST_SECRET;
        is_short
            .then(|| format!("sessions.secret must be at least {SHORTEST_SECRET} characters for HS256"))
            .into_iter()
            .collect()
    }
}
