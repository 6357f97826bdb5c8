//! `otpd project`: tenants and what they may set for themselves.

use std::sync::Arc;

use clap::{Args, Subcommand};
use common::otp::chain::Step;
use common::otp::channel::Mode;
use common::otp::ids::parse_project_name;
use common::otp::rows::Counters;
use common::otp::settings::{ProjectSettings, TestNumber};
use common::otp::time::Timestamp;
use common::store::Store;
use common::store::projects::Project;
use common::tenancy;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Admin;
use crate::outcome::{Failure, Outcome, say};

/// Tokens of a project that is told nothing else.
const TOKENS: i64 = 1000;
const LONGEST_NAME: usize = 64;

#[derive(Debug, Subcommand)]
pub(super) enum ProjectCommand {
    /// Make a project and its first keys, which are shown this once
    Create(Create),
    /// List all projects
    List(Admin),
    /// Show one project and its settings
    Show(Show),
    /// Change a project's settings; running processes follow within two seconds
    Update(Update),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    admin: Admin,
    /// What its messages call it
    name: String,
    /// A sandbox project: sandbox keys only, nothing is sent for real
    #[arg(long)]
    sandbox: bool,
    #[command(flatten)]
    settings: SettingFlags,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    admin: Admin,
    /// Its id, as PRJ_…
    project: String,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    #[command(flatten)]
    admin: Admin,
    /// Its id, as PRJ_…
    project: String,
    /// What its messages call it
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What can be set of a project.
#[derive(Debug, Args)]
struct SettingFlags {
    /// Sends it may make in all (default for a new project: 1000)
    #[arg(long, value_name = "N", conflicts_with = "unlimited", value_parser = clap::value_parser!(i64).range(0..))]
    tokens: Option<i64>,
    /// No limit on its sends
    #[arg(long)]
    unlimited: bool,
    /// Accepted sends a second (default: 1000)
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Accepted sends at once (default: 5000)
    #[arg(long, value_name = "N")]
    burst: Option<u32>,
    /// Life of a code in seconds, 10 to 600 (default: 300)
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// Digits of a code, 4 to 10 (default: 6)
    #[arg(long, value_name = "N")]
    code_length: Option<u8>,
    /// Seconds between two sends to one target (default: 30)
    #[arg(long, value_name = "SECONDS")]
    cooldown: Option<u32>,
    /// Sends to one target in an hour (default: 5)
    #[arg(long, value_name = "N")]
    per_hour: Option<u32>,
    /// Sends to one target in a day (default: 10)
    #[arg(long, value_name = "N")]
    per_day: Option<u32>,
    /// Wrong guesses a verification bears (default: 5)
    #[arg(long, value_name = "N")]
    guesses: Option<u8>,
    /// Sends of one verification (default: 5)
    #[arg(long, value_name = "N")]
    sends: Option<u8>,
    /// Days until targets are forgotten (default: 30)
    #[arg(long, value_name = "DAYS")]
    retention: Option<u16>,
    /// Regions that phones may be of, such as DE,AT; empty for all
    #[arg(long, value_name = "REGIONS", value_delimiter = ',')]
    countries: Option<Vec<String>>,
    /// The host for WebOTP, such as login.example.com; empty for none
    #[arg(long)]
    host: Option<String>,
    /// Locale of messages whose send names none, as a BCP 47 tag (default: en)
    #[arg(long)]
    locale: Option<String>,
    /// Whether a resend makes a new code instead of repeating the first one (default: false)
    #[arg(long, value_name = "BOOL")]
    new_code_on_resend: Option<bool>,
    /// Web origins whose pages may use doors without keys, such as `https://app.example.com`; empty for none
    #[arg(long, value_name = "ORIGINS", value_delimiter = ',')]
    allowed_origins: Option<Vec<String>>,
    /// A phone that always gets this code, and no message, through this day (UTC); once for each, instead of those
    /// before. For sandbox projects only
    #[arg(long, value_name = "NUMBER=CODE@DATE", value_parser = parse_test_number)]
    test_number: Vec<TestNumber>,
    /// What sends fall back on that do not say so: the same target by this channel, so many seconds after what went out
    /// before has not arrived; several with commas, instead of those before
    #[arg(long, value_name = "CHANNEL:SECONDS", value_delimiter = ',', value_parser = parse_step)]
    fallback: Vec<Step>,
    /// No fallback by default any more
    #[arg(long, conflicts_with = "fallback")]
    no_fallback: bool,
    /// No test numbers any more
    #[arg(long, conflicts_with = "test_number")]
    no_test_numbers: bool,
}

/// `+989123456789=4444@2026-12-31`; also with a date and time of RFC 3339 in UTC.
fn parse_test_number(text: &str) -> Result<TestNumber, String> {
    let parts = text.split_once('=').and_then(|(number, rest)| Some((number, rest.split_once('@')?)));
    let (number, (code, until)) = parts.ok_or("must be NUMBER=CODE@DATE, such as +989123456789=4444@2026-12-31")?;
    let end = Timestamp::end_of_day(until).or_else(|| Timestamp::parse_rfc3339(until));
    let end = end.ok_or_else(|| format!("{until} is neither a date such as 2026-12-31 nor a date and time in UTC"))?;
    Ok(TestNumber { number: number.to_owned(), code: code.to_owned(), until: end.rfc3339() })
}

/// `sms:20`.
fn parse_step(text: &str) -> Result<Step, String> {
    let parts = text.split_once(':').and_then(|(channel, after)| Some((channel, after.parse().ok()?)));
    let (channel, after) = parts.ok_or("must be CHANNEL:SECONDS, such as sms:20")?;
    let channel = channel.parse().map_err(|error| format!("the channel {error}"))?;
    Ok(Step { channel, after })
}

impl SettingFlags {
    fn apply(&self, settings: &mut ProjectSettings) {
        fn set<T: Clone>(place: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        set(&mut settings.rate, self.rate.as_ref());
        set(&mut settings.rate_burst, self.burst.as_ref());
        set(&mut settings.ttl, self.ttl.as_ref());
        set(&mut settings.code_length, self.code_length.as_ref());
        set(&mut settings.cooldown, self.cooldown.as_ref());
        set(&mut settings.sends_per_hour, self.per_hour.as_ref());
        set(&mut settings.sends_per_day, self.per_day.as_ref());
        set(&mut settings.guesses, self.guesses.as_ref());
        set(&mut settings.sends, self.sends.as_ref());
        set(&mut settings.retention_days, self.retention.as_ref());
        set(&mut settings.locale, self.locale.as_ref());
        set(&mut settings.new_code_on_resend, self.new_code_on_resend.as_ref());
        if let Some(countries) = &self.countries {
            settings.countries = countries.iter().filter(|country| !country.is_empty()).cloned().collect();
        }
        if let Some(host) = &self.host {
            settings.host = Some(host.clone()).filter(|host| !host.is_empty());
        }
        if let Some(origins) = &self.allowed_origins {
            settings.allowed_origins = origins.iter().filter(|origin| !origin.is_empty()).cloned().collect();
        }
        if self.no_test_numbers || !self.test_number.is_empty() {
            settings.test_numbers.clone_from(&self.test_number);
        }
        if self.no_fallback || !self.fallback.is_empty() {
            settings.fallback.clone_from(&self.fallback);
        }
    }

    fn tokens(&self, now: Option<i64>) -> Option<i64> {
        if self.unlimited { None } else { self.tokens.or(now) }
    }
}

impl ProjectCommand {
    pub(super) async fn run(self) -> Outcome {
        match self {
            Self::Create(command) => command.run().await,
            Self::List(admin) => list(&admin).await,
            Self::Show(command) => {
                let store = command.admin.store().await?;
                let project = find(&store, &command.project).await?;
                print(command.admin.json, &project);
                Ok(())
            }
            Self::Update(command) => command.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Outcome {
        let mut settings = ProjectSettings::default();
        self.settings.apply(&mut settings);
        check(&self.name, self.sandbox, &settings)?;
        let store = self.admin.store().await?;
        let now = store.now().await?;
        let tokens = self.settings.tokens(Some(TOKENS));
        let project = Project {
            id: tenancy::new_project_id(),
            name: self.name,
            sandbox: self.sandbox,
            settings: Arc::new(settings),
            counters: Counters { tokens, used: 0, rate: Timestamp::default() },
            created: now,
        };
        store.create_project(&project).await?;
        let mut keys = Vec::new();
        for mode in [Mode::Live, Mode::Sandbox] {
            if mode == Mode::Sandbox || !project.sandbox {
                let (text, row) = tenancy::new_key(project.id, mode, false, now);
                store.create_key(&row).await?;
                keys.push((mode, text));
            }
        }
        let key = |mode| keys.iter().find(|(of, _)| *of == mode).map(|(_, text)| text.expose_secret());
        let (live, sandbox) = (key(Mode::Live), key(Mode::Sandbox));
        if self.admin.json {
            say(json!({ "project_id": project.id.to_string(), "live_key": live, "sandbox_key": sandbox }));
        } else {
            say(format!("project     {}", project.id));
            say(format!("live key    {}", live.unwrap_or("(a sandbox project has none)")));
            say(format!("sandbox key {}", sandbox.unwrap_or_default()));
            say("The keys are shown this once; they are kept only as hashes.");
        }
        Ok(())
    }
}

impl Update {
    async fn run(self) -> Outcome {
        let store = self.admin.store().await?;
        let mut project = find(&store, &self.project).await?;
        let mut settings = (*project.settings).clone();
        self.settings.apply(&mut settings);
        if let Some(name) = self.name {
            project.name = name;
        }
        check(&project.name, project.sandbox, &settings)?;
        project.settings = Arc::new(settings);
        project.counters.tokens = self.settings.tokens(project.counters.tokens);
        store.update_project(&project).await?;
        print(self.admin.json, &project);
        Ok(())
    }
}

fn check(name: &str, is_sandbox: bool, settings: &ProjectSettings) -> Outcome {
    let mut problems = settings.problems();
    if !is_sandbox && !settings.test_numbers.is_empty() {
        problems.push("only a sandbox project (project create --sandbox) may have test numbers".to_owned());
    }
    let length = name.trim().chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        problems.push(format!("the name must be 1 to {LONGEST_NAME} characters without line breaks"));
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Usage(problems.join("; "))) }
}

/// The project of this public name.
pub(super) async fn find(store: &Store, name: &str) -> Outcome<Project> {
    let id =
        parse_project_name(name).ok_or_else(|| Failure::Usage(format!("{name} is no project id such as PRJ_…")))?;
    let project = store.find_project(id).await?;
    project.ok_or_else(|| Failure::failed(format!("there is no project {name}; `otpd project list` shows all")))
}

async fn list(admin: &Admin) -> Outcome {
    let projects = admin.store().await?.list_projects().await?;
    if admin.json {
        say(Value::from(projects.iter().map(in_json).collect::<Vec<_>>()));
        return Ok(());
    }
    for project in projects {
        let tokens = project.counters.tokens.map_or("unlimited".to_owned(), |tokens| tokens.to_string());
        say(format!("{}  {}/{tokens} tokens  {}", project.id, project.counters.used, project.name));
    }
    Ok(())
}

fn print(json: bool, project: &Project) {
    let shown = in_json(project);
    say(if json { shown.to_string() } else { format!("{shown:#}") });
}

fn in_json(project: &Project) -> Value {
    json!({
        "project_id": project.id.to_string(),
        "name": project.name,
        "sandbox": project.sandbox,
        "tokens": project.counters.tokens,
        "tokens_used": project.counters.used,
        "settings": *project.settings,
        "created_at": project.created.rfc3339(),
    })
}
