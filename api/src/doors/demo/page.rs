//! How the demo door answers: one view, filled into the page or told to its script, and the headers that keep both to
//! themselves. No decisions about codes are made here.

use axum::Json;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use tracing::error;
use utoipa_axum::router::OpenApiRouter;

use super::words::about;
use crate::core::Api;
use crate::doors::OpenDoor;

use crate::error::{ApiError, keep_said};
use crate::middleware::guarded;
use crate::openapi::demo::{Refusal, Step, View};
use crate::sessions::ACCESS_LIFE;

const HOME: &str = "/demo";
const PAGE: &str = include_str!("../../../../examples/login/page.html");
const FILES: [(&str, &str, &str); 3] = [
    ("app.js", "text/javascript", include_str!("../../../../examples/login/app.js")),
    ("style.css", "text/css", include_str!("../../../../examples/login/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../../../examples/login/icon.svg")),
];
const COOKIE_NAME: &str = "otpd_demo";
/// Nothing from elsewhere, nothing inside the page itself, no form to elsewhere, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Browsers send no `Origin` with a form where the policy is stricter.
const REFERRER: &str = "same-origin";
const INBOX_NOTE: &str = "No provider is set up, so nothing is really sent: a sandbox key reads the code at \
    /api/v1/sandbox/messages.";

/// Who is answered, and what the page says to everybody.
pub(crate) struct Desk {
    wants_data: bool,
    digits: u8,
    note: &'static str,
    /// Cookies travel by HTTPS alone.
    is_secure: bool,
}

impl FromRequestParts<Api> for Desk {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let door = OpenDoor::from_request_parts(parts, api).await?;
        Ok(Self {
            wants_data: wants_data(&parts.method, &parts.headers),
            digits: door.tenant.project.settings.code_length,
            note: if api.parts.live_in_sandbox { INBOX_NOTE } else { "" },
            is_secure: api.parts.public_url.as_ref().is_some_and(|url| url.starts_with("https:")),
        })
    }
}

impl View {
    pub(super) fn new(step: Step, target: &str) -> Self {
        Self {
            step,
            title: String::new(),
            heading: match step {
                Step::Ask => "Log in",
                Step::Code => "Enter the code",
                Step::Done => "You are logged in",
            },
            status: String::new(),
            error: String::new(),
            invalid: false,
            target: target.to_owned(),
            digits: 0,
            note: "",
            resend_in: None,
            token: None,
            me: String::new(),
        }
    }
}

impl Desk {
    pub(super) fn show(&self, view: View) -> Response {
        let marker = if view.error.is_empty() { "" } else { "Error: " };
        let title = format!("{marker}{} – otpd demo", view.heading);
        let view = View { title, digits: self.digits, note: self.note, ..view };
        if self.wants_data { Json(view).into_response() } else { page(&view) }
    }

    /// The same with the reason for not going on, and its status.
    pub(super) fn refuse(&self, view: View, error: &ApiError) -> Response {
        let invalid = matches!(error.code, "invalid_target" | "invalid_code");
        let mut response = self.show(View { error: about(error), invalid, ..view });
        *response.status_mut() = error.status;
        error.add_headers(response.headers_mut());
        response
    }

    pub(super) fn let_in(&self, token: String) -> Response {
        if self.wants_data {
            return self.show(View { token: Some(token), ..View::new(Step::Done, "") });
        }
        // By way of a redirect, so that a reload does not send the code again.
        let mut response = (StatusCode::SEE_OTHER, [(LOCATION, HOME)]).into_response();
        self.set_cookie(&mut response, &token, ACCESS_LIFE.as_secs());
        response
    }

    pub(super) fn let_out(&self) -> Response {
        let status = "You are logged out.".to_owned();
        let mut response = self.show(View { status, ..View::new(Step::Ask, "") });
        self.set_cookie(&mut response, "", 0);
        response
    }

    fn set_cookie(&self, response: &mut Response, value: &str, seconds: u64) {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let cookie =
            format!("{COOKIE_NAME}={value}; Path={HOME}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

fn page(view: &View) -> Response {
    // ARIA knows no `True`, which the template engine would write.
    let invalid = if view.invalid { "true" } else { "false" };
    let fixed = context! { base => HOME, home => HOME, meUrl => "/api/me", invalid };
    let filling = context! { ..fixed, ..Value::from(Serde(view)) };
    match Environment::new().render_named_str("page.html", PAGE, filling) {
        Ok(html) => Html(html).into_response(),
        Err(problem) => {
            error!(error = %problem, "the demo's page cannot be filled");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error").into_response()
        }
    }
}

pub(super) fn file(name: &str) -> Option<Response> {
    let (_, content_type, text) = FILES.into_iter().find(|(known, ..)| *known == name)?;
    Some(([(CONTENT_TYPE, content_type)], text).into_response())
}

/// The session of the page without a script.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, value)| *name == COOKIE_NAME && !value.is_empty()).map(|(_, value)| value)
}

/// The session of the page with one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// The routes of the page, made safe; what is refused below them is told by the page too.
pub(crate) fn front(routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    routes.layer(from_fn(dress))
}

async fn dress(request: Request, next: Next) -> Response {
    let wants_data = wants_data(request.method(), request.headers());
    let mut response = guarded(next.run(request)).await;
    let wrong_method = (response.status() == StatusCode::METHOD_NOT_ALLOWED).then(ApiError::method_not_allowed);
    if let Some(error) = response.extensions_mut().remove::<ApiError>().or(wrong_method) {
        // A closed door shows no page.
        let wants_data = wants_data || error.status == StatusCode::NOT_FOUND;
        response = keep_said(&response, refused(&error, wants_data));
    }
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, REFERRER),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Without a door at hand: the script stays where it is, the page begins anew.
fn refused(error: &ApiError, wants_data: bool) -> Response {
    if wants_data {
        let mut response = (error.status, Json(Refusal { error: about(error) })).into_response();
        error.add_headers(response.headers_mut());
        return response;
    }
    Desk { wants_data, digits: 0, note: "", is_secure: false }.refuse(View::new(Step::Ask, ""), error)
}

/// Refuses forms of other sites' pages: neither a visitor's session nor a visitor's address is theirs to use.
pub(crate) fn own_page_only(routes: OpenApiRouter<Api>) -> OpenApiRouter<Api> {
    routes.layer(from_fn(async |request: Request, next: Next| {
        if request.method() == Method::POST && !is_from_own_page(request.headers()) {
            let problem = "This form can only be sent from its own page.";
            return ApiError::new(StatusCode::FORBIDDEN, "cross_site", problem).into_response();
        }
        next.run(request).await
    }))
}

/// By what browsers say themselves (Fetch Metadata; of older ones, `Origin`). What says nothing is no browser, and has
/// nobody's cookie.
fn is_from_own_page(headers: &HeaderMap) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(SITE), text(ORIGIN)) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let place = origin.split_once("://").map(|(_, place)| place);
            place.is_some_and(|place| text(HOST).is_some_and(|host| host.eq_ignore_ascii_case(place)))
        }
        (None, None) => true,
    }
}

/// Browsers that send a form ask for a page; a script and whoever else does not.
fn wants_data(method: &Method, headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).into_iter().filter_map(|accept| accept.to_str().ok());
    method == Method::POST && !accepted.any(|accept| accept.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(is_from_own_page(&pairs.collect()), expected, "{headers:?}");
    }

    #[test]
    fn browsers_say_whose_page_a_form_is_on() {
        let host = ("host", "127.0.0.1:8080");
        check(&[host], true);
        check(&[host, ("sec-fetch-site", "same-origin"), ("origin", "null")], true);
        check(&[host, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8080")], false);
        check(&[host, ("sec-fetch-site", "cross-site")], false);
        check(&[host, ("origin", "http://127.0.0.1:8080")], true);
        for origin in ["null", "", "http://127.0.0.1", "http://127.0.0.1:8081", "https://evil.example"] {
            check(&[host, ("origin", origin)], false);
        }
        check(&[("origin", "http://127.0.0.1:8080")], false);
    }

    /// A place that nobody fills would be seen as nothing.
    #[test]
    fn every_place_in_the_page_has_its_filling() {
        let view = View { resend_in: Some(1), ..View::new(Step::Ask, "") };
        let filling = serde_json::to_value(&view).expect("JSON");
        for place in PAGE.split("{{ ").skip(1).filter_map(|rest| rest.split(" }}").next()) {
            assert!(["base", "home", "meUrl"].contains(&place) || filling.get(place).is_some(), "{place}");
        }
    }
}
