//! Doors that carry no key: each acts for the project that the configuration binds to it, for pages of that project's
//! origins, and for callers who are told apart by their address alone.

use std::net::IpAddr;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use common::otp::channel::Channel;
use common::otp::guess::DOOR_PREFIX;
use common::otp::target::{BadTarget, Strictness, Target};
use common::tenancy::Tenant;
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::{Host, Url};
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use super::front::Body;
use super::supabase::Supabase;
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::client_of;
use crate::send::Send;
use crate::verify::Verify;

/// How long a browser may remember what a preflight allowed.
const PREFLIGHT_KEPT: Duration = Duration::from_secs(600);
const RATE_HEADERS: [&str; 3] = ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"];

/// The project that a door acts for; without one it is closed.
#[derive(Debug, Clone, Default)]
pub struct Binding {
    pub project: Option<Uuid>,
    /// The region of numbers in national form; without one, E.164 only.
    pub region: Option<String>,
}

/// All bindings of a process.
#[derive(Debug, Clone, Default)]
pub struct Doors {
    pub login: Binding,
    pub oneport: Binding,
    pub mobile: Binding,
    /// The page to try logging in with.
    pub demo: Binding,
    pub supabase: Option<Supabase>,
    /// Pages of loopback addresses may call every door: `otpd dev`.
    pub loopback_origins: bool,
}

impl Doors {
    /// Every door that has a project, by its name in the configuration.
    pub(crate) fn bound(&self) -> impl Iterator<Item = (&'static str, Uuid)> + '_ {
        let doors = [("login", &self.login), ("1port", &self.oneport), ("mobile", &self.mobile)];
        let doors = doors.into_iter().filter_map(|(name, door)| door.project.map(|project| (name, project)));
        doors.chain(self.supabase.iter().map(|hooks| ("supabase", hooks.project())))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Login,
    OnePort,
    Mobile,
    Demo,
    /// Who is signed in: for the login door's project, or that of the first door with sessions that is bound.
    Me,
    /// Whoever is signed in at any door.
    Logout,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::OnePort => "1port",
            Self::Mobile => "mobile",
            Self::Demo => "demo",
            Self::Me => "me",
            Self::Logout => "logout",
        }
    }

    /// The reserved record id of what goes through this door alone.
    fn record(self) -> String {
        format!("{DOOR_PREFIX}{}", self.as_str())
    }

    /// The bindings whose projects stand behind it, the first of them its own.
    fn bindings(self, doors: &Doors) -> Vec<&Binding> {
        match self {
            Self::Login => vec![&doors.login],
            Self::OnePort => vec![&doors.oneport],
            Self::Mobile => vec![&doors.mobile],
            Self::Demo => vec![&doors.demo],
            Self::Me => {
                let all = [&doors.login, &doors.oneport, &doors.mobile];
                all.into_iter().find(|door| door.project.is_some()).into_iter().collect()
            }
            Self::Logout => vec![&doors.login, &doors.oneport, &doors.mobile],
        }
    }
}

/// A door that is bound to a project, and who stands before it.
#[derive(Debug, Clone)]
pub(crate) struct OpenDoor {
    pub(crate) tenant: Tenant,
    /// The tenants of the other projects that it stands for.
    others: Vec<Tenant>,
    pub(crate) client: IpAddr,
    name: Name,
    region: Option<String>,
    /// Pages of loopback addresses may call it.
    loopback: bool,
}

impl OpenDoor {
    pub(crate) fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        std::iter::once(&self.tenant).chain(&self.others)
    }

    /// A number to send to: valid, and of this door's region where it is in national form.
    pub(crate) fn phone(&self, text: &str) -> Result<Target, BadTarget> {
        let strictness = Strictness::Valid { magic: self.tenant.project.sandbox };
        let target = Target::parse(Channel::Sms, text, self.region_of(text), strictness)?;
        // The core would say so too, but not in this door's words.
        if self.tenant.project.settings.reaches(&target) { Ok(target) } else { Err(BadTarget::Phone) }
    }

    /// The same number when it comes back with its code: any spelling that leads to it will do.
    pub(crate) fn phone_again(&self, text: &str) -> Result<Target, BadTarget> {
        Target::parse(Channel::Sms, text, self.region_of(text), Strictness::Canonical)
    }

    /// What a send through this door is.
    pub(crate) fn send(&self, target: Target, channel: Channel) -> Send {
        let record = self.name.record();
        Send { record, session: true, client_ip: Some(self.client), ..Send::new(target, channel) }
    }

    /// What a guess through this door is.
    pub(crate) fn verify(&self, target: Target, code: common::otp::code::Code) -> Verify {
        Verify { target, code, record: Some(self.name.record()), client_ip: Some(self.client), erase: false }
    }

    /// A number that begins with `+` says itself where it is from.
    fn region_of(&self, text: &str) -> Option<&str> {
        self.region.as_deref().filter(|_| !text.trim_start().starts_with(['+', '\u{ff0b}']))
    }
}

/// For handlers behind [`keyless`], where the door is always open.
impl FromRequestParts<Api> for OpenDoor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(closed)
    }
}

/// Routes of a keyless door: closed without a project, open to its pages, with bodies as they must be.
pub(crate) fn keyless(name: Name, body: Body, routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    let open = from_fn(move |api: Extension<Api>, request: Request, next: Next| open(name, api, request, next));
    body.require(routes).layer(cors()).layer(open)
}

async fn open(name: Name, Extension(api): Extension<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let bindings = name.bindings(&api.parts.doors);
    let mut tenants: Vec<Tenant> = Vec::new();
    for project in bindings.iter().filter_map(|binding| binding.project) {
        let is_new = tenants.iter().all(|tenant| tenant.id().as_uuid() != project);
        tenants.extend(if is_new { api.parts.directory.door(project).await? } else { None });
    }
    let mut tenants = tenants.into_iter();
    let (tenant, others) = (tenants.next().ok_or_else(closed)?, tenants.collect());
    let (parts, body) = request.into_parts();
    let client = client_of(&parts, &api.parts.trusted_proxies);
    let mut request = Request::from_parts(parts, body);
    let region = bindings.first().and_then(|binding| binding.region.clone());
    let loopback = api.parts.doors.loopback_origins;
    request.extensions_mut().insert(OpenDoor { tenant, others, client, name, region, loopback });
    Ok(next.run(request).await)
}

pub(super) fn closed() -> ApiError {
    ApiError::not_found("This door is not bound to a project")
}

fn cors() -> CorsLayer {
    let exposed = RATE_HEADERS.map(HeaderName::from_static).into_iter().chain([RETRY_AFTER]);
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(|origin, request: &Parts| {
            request.extensions.get::<OpenDoor>().is_some_and(|door| allows(door, origin))
        }))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers(exposed.collect::<Vec<_>>())
        .max_age(PREFLIGHT_KEPT)
}

fn allows(door: &OpenDoor, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let mut allowed = door.tenants().flat_map(|tenant| &tenant.project.settings.allowed_origins);
    allowed.any(|allowed| allowed == origin) || (door.loopback && is_loopback(origin))
}

fn is_loopback(origin: &str) -> bool {
    match Url::parse(origin).ok().as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_are_known_by_their_host() {
        for origin in ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8080", "https://localhost"] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in ["http://localhost.example", "https://127.0.0.1.example", "null", "", "http://10.0.0.1"] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
