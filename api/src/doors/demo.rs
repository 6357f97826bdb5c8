//! The demo door, `/demo`: a page to log in with, in `otpd dev` alone. Its files are those of `examples/login`.
//!
//! Every form is answered with the page again and, for the page's script, with the same as data. The script holds the access
//! token in memory; without it a cookie does, which no script reads and no other site's page can make use of.

mod page;
mod words;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use common::otp::accept::Accepted;
use common::otp::channel::Channel;
use common::otp::code::Code;
use common::otp::guess::{Reason, Verdict};
use common::otp::target::{Strictness, Target};
use uuid::Uuid;

use self::page::Desk;
use self::words::{about_refusal, about_wrong, spell};
use super::OpenDoor;
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::FormBody;
use crate::openapi::demo::{Refusal, SendForm, Step, VerifyForm, View};
use crate::sessions::{self, BadToken, Passed, SignedIn, Tokens};
use crate::{send, verify};

pub(crate) use self::page::{front, own_page_only};

/// Read the page
#[utoipa::path(
    get,
    path = "/demo",
    operation_id = "demo",
    responses((status = 200, description = "The page", body = str, content_type = "text/html")),
)]
pub(crate) async fn page(State(api): State<Api>, door: OpenDoor, desk: Desk, headers: HeaderMap) -> Response {
    let ask = || View::new(Step::Ask, "");
    let Some(token) = page::cookie(&headers) else { return desk.show(ask()) };
    match sessions::check(&api, &door.tenant.project, token).await {
        Ok(claims) => {
            let Json(me) = sessions::routes::me(SignedIn(claims)).await;
            desk.show(View { me: serde_json::to_string_pretty(&me).unwrap_or_default(), ..View::new(Step::Done, "") })
        }
        Err(BadToken::Unavailable) => desk.refuse(ask(), &ApiError::unavailable()),
        Err(BadToken::Missing | BadToken::Invalid) => desk.show(ask()),
    }
}

/// Read a part of the page
#[utoipa::path(
    get,
    path = "/demo/{file}",
    operation_id = "demoFile",
    params(("file" = String, Path, description = "`app.js`, `style.css` or `icon.svg`")),
    responses((status = 200, description = "The file", content(
        (String = "text/javascript"), (String = "text/css"), (String = "image/svg+xml"),
    ))),
)]
pub(crate) async fn file(name: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let found = name.ok().and_then(|Path(name)| page::file(&name));
    found.ok_or_else(|| ApiError::not_found("No such file"))
}

/// Send a code, from the page
#[utoipa::path(
    post,
    path = "/demo/send",
    operation_id = "demoSend",
    request_body(content = SendForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Accepted", content((View = "application/json"), (String = "text/html"))),
        (status = 400, description = "Not a target", body = Refusal),
        (status = 403, description = "From another site's page", body = Refusal),
        (status = 429, description = "Too soon or too often", body = Refusal),
    ),
)]
pub(crate) async fn send(State(api): State<Api>, door: OpenDoor, desk: Desk, form: FormBody) -> Response {
    let text = form.get("target").unwrap_or_default().trim();
    match send_to(&api, &door, text).await {
        Ok((target, accepted)) => {
            let life = spell(u64::try_from(accepted.expires_in).unwrap_or_default());
            let status = format!("A code is on its way. It is good for up to {life}.");
            let resend_in = Some(door.tenant.project.settings.cooldown.into());
            desk.show(View { status, resend_in, ..View::new(Step::Code, target.delivered()) })
        }
        // There is a code to be typed already.
        Err(error) if error.code == "cooldown" => desk.refuse(View::new(Step::Code, text), &error),
        Err(error) => {
            let step = if form.get("step") == Some("code") { Step::Code } else { Step::Ask };
            desk.refuse(View::new(step, text), &error)
        }
    }
}

/// Verify it, from the page
#[utoipa::path(
    post,
    path = "/demo/verify",
    operation_id = "demoVerify",
    request_body(content = VerifyForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "Logged in, for the script", body = View),
        (status = 303, description = "Logged in by a cookie, back to the page"),
        (status = 400, description = "Not a code", body = Refusal),
        (status = 401, description = "Wrong, expired or used", body = Refusal),
        (status = 403, description = "From another site's page", body = Refusal),
        (status = 429, description = "Too many wrong ones", body = Refusal),
    ),
)]
pub(crate) async fn verify(State(api): State<Api>, door: OpenDoor, desk: Desk, form: FormBody) -> Response {
    let text = form.get("target").unwrap_or_default().trim();
    let Ok(target) = read_target(&door, text, Strictness::Canonical) else {
        return desk.refuse(View::new(Step::Ask, text), &bad_target());
    };
    match enter(&api, &door, &target, form.get("code").unwrap_or_default()).await {
        Ok(tokens) => desk.let_in(tokens.access),
        Err(error) => desk.refuse(View::new(Step::Code, target.delivered()), &error),
    }
}

/// Log out, from the page
#[utoipa::path(
    post,
    path = "/demo/logout",
    operation_id = "demoLogout",
    responses(
        (status = 200, description = "Logged out", content((View = "application/json"), (String = "text/html"))),
        (status = 403, description = "From another site's page", body = Refusal),
    ),
)]
pub(crate) async fn logout(State(api): State<Api>, door: OpenDoor, desk: Desk, headers: HeaderMap) -> Response {
    if let Some(token) = page::bearer(&headers).or_else(|| page::cookie(&headers))
        && let Err(error) = end(&api, &door, token).await
    {
        return desk.refuse(View::new(Step::Done, ""), &error);
    }
    desk.let_out()
}

async fn send_to(api: &Api, door: &OpenDoor, text: &str) -> Result<(Target, Accepted), ApiError> {
    let strictness = Strictness::Valid { magic: door.tenant.project.sandbox };
    let target = read_target(door, text, strictness)?;
    if let Some(country) = target.country().filter(|_| !door.tenant.project.settings.reaches(&target)) {
        let problem = format!("No codes are sent to numbers of {country} here.");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_target", problem));
    }
    let request = door.send(target.clone(), channel_of(text));
    Ok((target, send::send(api, &door.tenant, request).await?))
}

async fn enter(api: &Api, door: &OpenDoor, target: &Target, text: &str) -> Result<Tokens, ApiError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
    let problem = "Type the code: digits and nothing else.";
    let code = Code::parse(&digits).map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "invalid_code", problem))?;
    match verify::verify(api, &door.tenant, door.verify(target.clone(), code)).await? {
        Verdict::Verified { verification, dispatches, .. } => {
            let passed = Passed { verification: &verification, dispatches: &dispatches, target };
            let tokens = sessions::open(api, &door.tenant, passed).await?;
            tokens.ok_or_else(|| wrong_code(about_refusal(Reason::NotFound)))
        }
        Verdict::Wrong { left, .. } => Err(wrong_code(about_wrong(left))),
        Verdict::Refused { reason, .. } => Err(wrong_code(about_refusal(reason))),
        Verdict::Limited { exhausted, .. } => Err(ApiError::too_many_guesses(exhausted)),
    }
}

/// Ends the session of a token, if it is one.
async fn end(api: &Api, door: &OpenDoor, token: &str) -> Result<(), ApiError> {
    let claims = match sessions::check(api, &door.tenant.project, token).await {
        Ok(claims) => claims,
        Err(BadToken::Unavailable) => return Err(ApiError::unavailable()),
        Err(BadToken::Missing | BadToken::Invalid) => return Ok(()),
    };
    if let Ok(session) = Uuid::try_parse(&claims.sid) {
        api.parts.store.end_session(session, api.parts.clock.now()).await?;
    }
    Ok(())
}

fn channel_of(text: &str) -> Channel {
    if text.contains('@') { Channel::Email } else { Channel::Sms }
}

fn read_target(door: &OpenDoor, text: &str, strictness: Strictness) -> Result<Target, ApiError> {
    let target = Target::parse(channel_of(text), text, None, strictness).map_err(|_| bad_target())?;
    let may_be_magic = door.tenant.project.sandbox;
    if target.is_magic() && !may_be_magic { Err(bad_target()) } else { Ok(target) }
}

fn bad_target() -> ApiError {
    let problem = "Type a phone number with its country code, or an e-mail address.";
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_target", problem)
}

fn wrong_code(words: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "invalid_code", words)
}
