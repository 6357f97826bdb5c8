//! The Twilio Verify door, `/v2/Services/{VA…}`: what programs written for Twilio Verify v2 call, with Basic auth and forms.
//!
//! Its verifications carry no record id, so that v1 sees the same ones. A wrong code is no error; what has ended is 404, as
//! <https://www.twilio.com/docs/verify/api> has it. Refusals are in `errors`, replies in `render`.

mod account;
mod errors;
mod form;
mod lookup;
mod render;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use common::otp::accept::Accepted;
use common::otp::cancel::Closed;
use common::otp::channel::Channel;
use common::otp::guess::{Reason, Verdict};
use common::otp::ids::VerificationId;
use common::otp::target::Target;
use common::store::records::Timeline;

use self::account::Account;
pub(crate) use self::errors::shape;
use self::errors::unknown;
use self::form::{Check, Closing, Subject};
use self::render::{Sent, Shown, Status};
use crate::chain;
use crate::core::Api;
use crate::error::{ApiError, add_standing};
use crate::extract::FormBody;
use crate::openapi::twilio as shapes;
use crate::send;
use crate::verify::{self, Verify};

type Created<T> = Result<(StatusCode, HeaderMap, Json<T>), ApiError>;

/// Send a code
///
/// While the last one to the same `To` is pending, the same code goes out again under the same `sid`.
#[utoipa::path(
    post,
    path = "/v2/Services/{ServiceSid}/Verifications",
    operation_id = "twilioCreateVerification",
    params(shapes::ServiceSid),
    request_body(content = shapes::CreateVerification, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 201, description = "Accepted", body = shapes::Verification),
        (status = 403, body = shapes::TwilioError,
            description = "60204: these credentials may not bring codes; 60605: not to this country"),
        (status = 429, body = shapes::TwilioError,
            description = "60203: too soon or too often; 60202: its checks are used up; 20429: other limits"),
    ),
)]
pub(crate) async fn create(
    State(api): State<Api>,
    account: Account,
    fields: FormBody,
) -> Created<shapes::Verification> {
    let request = form::read_send(&account.tenant, &fields)?;
    let (target, channel) = (request.target.clone(), request.channel);
    let accepted = send::send(&api, &account.tenant, request).await?;
    let sent = sent(&api, &account, &accepted, channel).await;
    let (id, status, to) = (accepted.dispatch.verification, Status::Pending, Some(target.delivered()));
    let shown = Shown { id, to, status, sent: &sent, closed: None, is_foreign: false };
    let mut headers = HeaderMap::new();
    add_standing(&mut headers, accepted.standing);
    Ok((StatusCode::CREATED, headers, Json(shown.verification(&account))))
}

/// Fetch a verification
///
/// One that is pending or whose checks are used up; whatever has ended is not found.
#[utoipa::path(
    get,
    path = "/v2/Services/{ServiceSid}/Verifications/{Sid}",
    operation_id = "twilioFetchVerification",
    params(shapes::ServiceSid, shapes::Sid),
    responses((status = 200, description = "It is pending, or its checks are used up", body = shapes::Verification)),
)]
pub(crate) async fn fetch(State(api): State<Api>, account: Account) -> Result<Json<shapes::Verification>, ApiError> {
    let found = lookup::named(&api, &account).await?;
    let status = Status::of(&found.verification, api.parts.clock.now()).ok_or_else(unknown)?;
    show(&api, &account, &found, status).await
}

/// Cancel or approve a verification
///
/// Cancel it, or say that the code was checked elsewhere. Only while it is pending.
#[utoipa::path(
    post,
    path = "/v2/Services/{ServiceSid}/Verifications/{Sid}",
    operation_id = "twilioUpdateVerification",
    params(shapes::ServiceSid, shapes::Sid),
    request_body(content = shapes::UpdateVerification, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "It is closed", body = shapes::Verification)),
)]
pub(crate) async fn update(
    State(api): State<Api>,
    account: Account,
    fields: FormBody,
) -> Result<Json<shapes::Verification>, ApiError> {
    let closing = form::read_closing(&fields)?;
    let found = lookup::named(&api, &account).await?;
    let (now, id) = (api.parts.clock.now(), found.verification.id);
    let (project, modes) = (account.tenant.id(), account.tenant.mode.visible());
    if Status::of(&found.verification, now) != Some(Status::Pending) {
        return Err(unknown());
    }
    let (closed, status) = match closing {
        Closing::Cancel => (api.parts.store.cancel(now, project, modes, Some(id), "").await?, Status::Canceled),
        Closing::Approve => (api.parts.store.approve(now, project, modes, id).await?, Status::Approved),
    };
    match closed {
        Some(Closed::Now(_)) => show(&api, &account, &found, status).await,
        // Somebody else was faster.
        Some(Closed::Before(..)) | None => Err(unknown()),
    }
}

/// Check a code
///
/// 201 whether it is right or not.
#[utoipa::path(
    post,
    path = "/v2/Services/{ServiceSid}/VerificationCheck",
    operation_id = "twilioCheckVerification",
    params(shapes::ServiceSid),
    request_body(content = shapes::CheckVerification, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 201, description = "Right or wrong", body = shapes::VerificationCheck),
        (status = 429, body = shapes::TwilioError,
            description = "60202: its checks are used up; 20429: too many wrong codes for this target"),
    ),
)]
pub(crate) async fn check(
    State(api): State<Api>,
    account: Account,
    fields: FormBody,
) -> Created<shapes::VerificationCheck> {
    let Check { code, subject } = form::read_check(&fields)?;
    let (target, record) = match subject {
        Subject::Target(target) => (target, None),
        Subject::Id(id, target) => (lookup::target_of(&api, &account, id, target).await?, Some(id.to_string())),
    };
    let to = target.delivered().to_owned();
    let guess = Verify { target, code, record, client_ip: None, erase: false };
    let verdict = verify::verify(&api, &account.tenant, guess).await?;
    let answer = judge(&api, &account, verdict, &to).await?;
    Ok((StatusCode::CREATED, HeaderMap::new(), Json(answer)))
}

/// What a reply tells of a guess.
async fn judge(
    api: &Api,
    account: &Account,
    verdict: Verdict,
    to: &str,
) -> Result<shapes::VerificationCheck, ApiError> {
    let (id, mode, status, at, channel) = match verdict {
        // Sent by another door, with a fallback to somebody else: it says nothing of this `To`.
        Verdict::Verified { dispatches, .. } if !chain::went_to_target_alone(&dispatches) => return Err(unknown()),
        Verdict::Verified { verification, dispatches, at } => {
            let newest = dispatches.iter().find(|dispatch| dispatch.newest);
            let channel = newest.map_or(verification.channel, |newest| newest.channel);
            (verification.id, verification.mode, Status::Approved, at, channel)
        }
        Verdict::Wrong { verification, .. } => {
            let found = lookup::by_id(api, account, verification).await?;
            let (now, channel) = (api.parts.clock.now(), render::newest(&found));
            (verification, found.verification.mode, Status::Pending, now, channel)
        }
        Verdict::Refused { verification, reason: Reason::TooMany } => {
            return Err(used_up(api, account, verification).await);
        }
        Verdict::Refused { .. } => return Err(unknown()),
        Verdict::Limited { exhausted, .. } => return Err(ApiError::too_many_guesses(exhausted)),
    };
    Ok(render::check(account, id, status, channel, to, at, account.tenant.is_foreign(mode)))
}

/// The refusal of a guess that came after the last one.
async fn used_up(api: &Api, account: &Account, id: Option<VerificationId>) -> ApiError {
    let now = api.parts.clock.now();
    let found = match id {
        Some(id) => lookup::by_id(api, account, id).await.ok(),
        None => None,
    };
    errors::used_up(found.map(|found| found.verification.guesses_return(now)).unwrap_or_default())
}

/// The sends of a verification, the newest one last.
async fn sent(api: &Api, account: &Account, accepted: &Accepted, channel: Channel) -> Vec<Sent> {
    let (id, n) = (accepted.dispatch.verification, accepted.dispatch.n);
    if n > 1
        && let Ok(found) = lookup::by_id(api, account, id).await
    {
        return render::sent(&found);
    }
    // The first one; or what came before cannot be read now, and that it is accepted must be told all the same.
    let at = if n == 1 { id.created() } else { api.parts.clock.now() };
    vec![Sent { n, channel, at }]
}

async fn show(
    api: &Api,
    account: &Account,
    found: &Timeline,
    status: Status,
) -> Result<Json<shapes::Verification>, ApiError> {
    let target = lookup::open(api, account, found).await?;
    let (id, to) = (found.verification.id, target.as_ref().map(Target::delivered));
    let closed = status.is_final().then(|| api.parts.clock.now());
    let is_foreign = account.tenant.is_foreign(found.verification.mode);
    let shown = Shown { id, to, status, sent: &render::sent(found), closed, is_foreign };
    Ok(Json(shown.verification(account)))
}
