//! Looking back, for callers with a key: records, timelines, statistics, tokens and the sandbox inbox.

mod query;
mod timeline;

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use common::keys::IndexKind;
use common::otp::changes::Dimension;
use common::otp::channel::Mode;
use common::otp::ids::ProjectId;
use common::otp::rows::State as VerificationState;
use common::otp::target::Target;
use common::otp::time::Timestamp;
use common::store::records::{Count, Record};
use serde_json::{Map, Value, json};

use crate::core::Api;
use crate::error::ApiError;
use crate::extract::Authenticated;
use crate::verify::server_id;
use query::{Query, RecordsQuery};

/// Matches are counted one by one up to here.
const COUNTED: u32 = 10_000;
const MOST_MESSAGES: u32 = 100;
/// Sandbox messages are shown for a day; the sweep deletes them a little later.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// `GET /api/v1/otp/records`: newest first.
pub(crate) async fn list(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let query = RecordsQuery::parse(&Query::parse(raw.as_deref()), &tenant)?;
    let records = api.parts.store.list_records(&query.filter, query.page()).await?;
    let (total, is_minimum) = total(&api, &query).await?;
    let next = (records.len() == query.limit as usize).then(|| records.last().map(|last| last.verification.id));
    let mut shown = Vec::with_capacity(records.len());
    for record in &records {
        shown.push(show(&api, tenant.id(), record).await?);
    }
    let mut pagination = json!({
        "page": query.page,
        "limit": query.limit,
        "total": total,
        "pages": total.div_ceil(u64::from(query.limit)),
    });
    if is_minimum {
        pagination["totalIsMinimum"] = Value::Bool(true);
    }
    if let Some(id) = next.flatten() {
        pagination["nextCursor"] = Value::from(id.to_string());
    }
    Ok(Json(json!({ "records": shown, "pagination": pagination })))
}

/// Exact up to 10,000; beyond that from the statistics where these can tell.
async fn total(api: &Api, query: &RecordsQuery) -> Result<(u64, bool), ApiError> {
    let counted = api.parts.store.count_records(&query.filter, COUNTED + 1).await?;
    if counted <= COUNTED {
        return Ok((counted.into(), false));
    }
    let Some(sum) = query.as_statistic() else { return Ok((COUNTED.into(), true)) };
    let filter = &query.filter;
    let counts = api.parts.store.stats(filter.project, filter.modes, filter.from, filter.until).await?;
    let total: i64 = counts.iter().filter(|count| sum(count)).map(|count| count.count).sum();
    Ok((u64::try_from(total).unwrap_or(0), false))
}

async fn show(api: &Api, project: ProjectId, record: &Record) -> Result<Value, ApiError> {
    let (verification, dispatch) = (&record.verification, &record.dispatch);
    let sealed = &verification.target;
    let country = verification.country.clone();
    let target = api.parts.vault.open_target(project, verification.id, sealed, country).await?;
    Ok(json!({
        "id": verification.id.to_string(),
        "target": target.as_ref().map(Target::delivered),
        "channel": verification.channel.as_str(),
        "mode": verification.mode.as_str(),
        "verified": verification.state == VerificationState::Verified,
        "recordId": some_text(&verification.record),
        "status": dispatch.status.as_str(),
        "provider": dispatch.provider,
        "error": dispatch.reason,
        "createdAt": verification.id.created().rfc3339(),
        "expiresAt": verification.expires.rfc3339(),
        "deliveredAt": dispatch.delivered.map(Timestamp::rfc3339),
    }))
}

/// `GET /api/v1/otp/records/{id}`: everything that happened to one verification.
pub(crate) async fn timeline(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let unknown = || ApiError::not_found("No verification found");
    let id = id.ok().and_then(|Path(id)| server_id(&id)).ok_or_else(unknown)?;
    let found = api.parts.store.timeline(tenant.id(), tenant.mode.visible(), id).await?;
    let found = found.ok_or_else(unknown)?;
    let (sealed, country) = (&found.verification.target, found.verification.country.clone());
    let target = api.parts.vault.open_target(tenant.id(), id, sealed, country).await?;
    Ok(Json(timeline::show(&found, target.as_ref(), api.parts.clock.now())))
}

/// `GET /api/v1/otp/stats`: counts by the hour in which verifications were opened; bounds are rounded out and echoed.
pub(crate) async fn stats(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, ApiError> {
    let (from, until) = query::stats_bounds(&Query::parse(raw.as_deref()))?;
    let counts = api.parts.store.stats(tenant.id(), tenant.mode.visible(), from, until).await?;
    let sum = |dimension| -> i64 {
        counts.iter().filter(|count| count.dimension == dimension).map(|count| count.count).sum()
    };
    let (total, verified) = (sum(Dimension::Total), sum(Dimension::Verified));
    Ok(Json(json!({
        "total": total,
        "verified": verified,
        "unverified": total - verified,
        "verificationRate": percentage(verified, total),
        "byChannel": by(&counts, Dimension::Channel),
        "byStatus": by(&counts, Dimension::Status),
        "byProvider": by(&counts, Dimension::Provider),
        "byCountry": by(&counts, Dimension::Country),
        "dateFrom": from.map(Timestamp::rfc3339),
        "dateTo": until.map(Timestamp::rfc3339),
    })))
}

fn by(counts: &[Count], dimension: Dimension) -> Map<String, Value> {
    let of = counts.iter().filter(|count| count.dimension == dimension && count.count != 0);
    of.map(|count| (count.value.clone(), Value::from(count.count))).collect()
}

/// Two decimals, rounded half up, in whole numbers all the way.
fn percentage(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "0.00".to_owned();
    }
    let hundredths = (i128::from(part) * 20_000 + i128::from(whole)) / (i128::from(whole) * 2);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// `GET /api/v1/otp/token-info`: as it is now, not as it was remembered.
pub(crate) async fn token_info(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
) -> Result<Json<Value>, ApiError> {
    let project = api.parts.store.find_project(tenant.id().as_uuid()).await?;
    let counters = project.map_or(tenant.project.counters, |project| project.counters);
    Ok(Json(json!({
        "tokens": counters.tokens,
        "tokensUsed": counters.used,
        "remainingTokens": counters.tokens.map(|tokens| (tokens - counters.used).max(0)),
        "hasUnlimitedTokens": counters.tokens.is_none(),
    })))
}

/// `GET /api/v1/sandbox/messages`: what went to the inbox instead of people, newest first.
pub(crate) async fn sandbox_messages(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, ApiError> {
    if tenant.mode != Mode::Sandbox {
        let message = "Sandbox messages need a sandbox key";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "sandbox_key_required", message));
    }
    let keys = api.parts.vault.keys();
    let query = Query::parse(raw.as_deref());
    let targets: Option<Vec<_>> = query.target()?.map(|target| {
        let project = tenant.id().as_uuid();
        keys.indexes(IndexKind::Target, &[project.as_bytes(), target.canonical().as_bytes()]).all().collect()
    });
    let modes: &[Mode] = if api.parts.live_in_sandbox { Mode::Live.visible() } else { Mode::Sandbox.visible() };
    let messages = api.parts.store.sandbox_messages(tenant.id(), modes, targets.as_deref(), MOST_MESSAGES).await?;
    let oldest = api.parts.clock.now() - KEPT;
    let shown = messages.iter().filter(|message| message.created > oldest).filter_map(|message| {
        let opened = providers::inbox::open_message(keys, message).ok()?;
        Some(json!({
            "id": message.id.to_string(),
            "target": opened.target,
            "channel": message.channel.as_str(),
            "code": opened.code,
            "subject": opened.subject,
            "text": opened.text,
            "html": opened.html,
            "createdAt": message.created.rfc3339(),
        }))
    });
    Ok(Json(json!({ "messages": shown.collect::<Vec<_>>() })))
}

fn some_text(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_decimals_and_round_half_up() {
        for (part, whole, shown) in
            [(0, 0, "0.00"), (120, 150, "80.00"), (1, 3, "33.33"), (2, 3, "66.67"), (5, 5, "100.00")]
        {
            assert_eq!(percentage(part, whole), shown);
        }
    }
}
