//! Looking back, for callers with a key: records, timelines, statistics, tokens and the sandbox inbox.

mod query;
mod timeline;

use std::collections::{BTreeMap, HashMap};
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
use common::otp::time::Timestamp;
use common::store::records::{Count, Record};

use crate::chain;
use crate::core::Api;
use crate::error::ApiError;
use crate::extract::Authenticated;
use crate::openapi::records::{self as shape, Pagination, Records, RecordsParams};
use crate::openapi::usage::{Message, Messages, MessagesParams, Stats, StatsParams, TokenInfo};
use crate::openapi::v1::V1Error;
use crate::verify::server_id;
use query::{Query, RecordsQuery, Statistic};

/// Matches are counted one by one up to here.
const COUNTED: u32 = 10_000;
const MOST_MESSAGES: u32 = 100;
/// Sandbox messages are shown for a day; the sweep deletes them a little later.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// List verifications
///
/// Newest first, each with its newest dispatch that has gone out.
#[utoipa::path(
    get,
    path = "/api/v1/otp/records",
    operation_id = "listRecords",
    params(RecordsParams),
    responses((status = 200, description = "A page of records", body = Records)),
)]
pub(crate) async fn list(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Records>, ApiError> {
    let query = RecordsQuery::parse(&Query::parse(raw.as_deref()), &tenant)?;
    let found = api.parts.store.list_records(&query.filter, query.page()).await?;
    let (total, is_minimum) = total(&api, &query).await?;
    let next = (found.len() == query.limit as usize).then(|| found.last().map(|last| last.verification.id));
    let mut records = Vec::with_capacity(found.len());
    for record in &found {
        records.push(show(&api, tenant.id(), record).await?);
    }
    let pagination = Pagination {
        page: query.page,
        limit: query.limit,
        total,
        total_is_minimum: is_minimum.then_some(true),
        pages: total.div_ceil(u64::from(query.limit)),
        next_cursor: next.flatten().map(|id| id.to_string()),
    };
    Ok(Json(Records { records, pagination }))
}

/// From the statistics where these can tell; else counted, exact up to 10,000 and beyond that at least so many.
async fn total(api: &Api, query: &RecordsQuery) -> Result<(u64, bool), ApiError> {
    let (store, filter) = (&api.parts.store, &query.filter);
    let summed = async |statistic: &Statistic, from| -> Result<u64, ApiError> {
        let counts = store.stats(filter.project, filter.modes, statistic.dimensions, from, filter.until).await?;
        Ok(statistic.sum(&counts))
    };
    let statistic = query.as_statistic();
    if let Some(statistic) = &statistic
        && let Some(listed) = store.listed_since().await?
    {
        // What has been forgotten is still in the statistics.
        let from = filter.from.map_or(listed, |from| from.max(listed));
        return Ok((summed(statistic, Some(from)).await?, false));
    }
    let counted = store.count_records(filter, COUNTED + 1).await?;
    match &statistic {
        _ if counted <= COUNTED => Ok((counted.into(), false)),
        Some(statistic) => Ok((summed(statistic, filter.from).await?, false)),
        None => Ok((COUNTED.into(), true)),
    }
}

async fn show(api: &Api, project: ProjectId, record: &Record) -> Result<shape::Record, ApiError> {
    let (verification, dispatch) = (&record.verification, &record.dispatch);
    let sealed = &verification.target;
    let country = verification.country.clone();
    let target = api.parts.vault.open_target(project, verification.id, sealed, country).await?;
    Ok(shape::Record {
        id: verification.id.to_string(),
        target: target.map(|target| target.delivered().to_owned()),
        channel: verification.channel.as_str(),
        mode: verification.mode.as_str(),
        verified: (!verification.is_relayed()).then_some(verification.state == VerificationState::Verified),
        record_id: Some(verification.record.clone()).filter(|record| !record.is_empty()),
        status: dispatch.status.as_str(),
        provider: dispatch.provider.clone(),
        error: dispatch.reason.clone(),
        created_at: verification.id.created().rfc3339(),
        expires_at: verification.expires.rfc3339(),
        delivered_at: dispatch.delivered.map(Timestamp::rfc3339),
    })
}

/// Show one verification
///
/// Everything that happened to it: its dispatches, their attempts and receipts, in order.
#[utoipa::path(
    get,
    path = "/api/v1/otp/records/{id}",
    operation_id = "showRecord",
    params(("id" = uuid::Uuid, Path, description = "The id that send answered")),
    responses(
        (status = 200, description = "The timeline", body = shape::Timeline),
        (status = 404, description = "No such verification", body = V1Error),
    ),
)]
pub(crate) async fn timeline(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<shape::Timeline>, ApiError> {
    let unknown = || ApiError::not_found("No verification found");
    let id = id.ok().and_then(|Path(id)| server_id(&id)).ok_or_else(unknown)?;
    let found = api.parts.store.timeline(tenant.id(), tenant.mode.visible(), id).await?;
    let found = found.ok_or_else(unknown)?;
    let (sealed, country) = (&found.verification.target, found.verification.country.clone());
    let target = api.parts.vault.open_target(tenant.id(), id, sealed, country).await?;
    let mut own = HashMap::new();
    for dispatch in &found.dispatches {
        if let Some(target) = &dispatch.target
            && let Some(target) = chain::open(&api, &tenant, target).await?
        {
            own.insert(dispatch.id, target);
        }
    }
    Ok(Json(timeline::show(&found, target.as_ref(), &own, api.parts.clock.now())))
}

/// Count verifications
///
/// By the hour in which they were opened; the bounds are rounded out to whole hours and echoed.
#[utoipa::path(
    get,
    path = "/api/v1/otp/stats",
    operation_id = "stats",
    params(StatsParams),
    responses((status = 200, description = "The counts", body = Stats)),
)]
pub(crate) async fn stats(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Stats>, ApiError> {
    let (from, until) = query::stats_bounds(&Query::parse(raw.as_deref()))?;
    let counts = api.parts.store.stats(tenant.id(), tenant.mode.visible(), &Dimension::ALL, from, until).await?;
    let sum = |dimension| -> i64 {
        counts.iter().filter(|count| count.dimension == dimension).map(|count| count.count).sum()
    };
    let (total, verified) = (sum(Dimension::Total), sum(Dimension::Verified));
    Ok(Json(Stats {
        total,
        verified,
        unverified: total - verified,
        relayed: sum(Dimension::Relayed),
        verification_rate: percentage(verified, total),
        by_channel: by(&counts, Dimension::Channel),
        by_status: by(&counts, Dimension::Status),
        by_provider: by(&counts, Dimension::Provider),
        by_country: by(&counts, Dimension::Country),
        date_from: from.map(Timestamp::rfc3339),
        date_to: until.map(Timestamp::rfc3339),
    }))
}

fn by(counts: &[Count], dimension: Dimension) -> BTreeMap<String, i64> {
    let of = counts.iter().filter(|count| count.dimension == dimension && count.count != 0);
    of.map(|count| (count.value.clone(), count.count)).collect()
}

/// Two decimals, rounded half up, in whole numbers all the way.
fn percentage(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "0.00".to_owned();
    }
    let hundredths = (i128::from(part) * 20_000 + i128::from(whole)) / (i128::from(whole) * 2);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Show the token balance
///
/// As it is now.
#[utoipa::path(
    get,
    path = "/api/v1/otp/token-info",
    operation_id = "tokenInfo",
    responses((status = 200, description = "The balance", body = TokenInfo)),
)]
pub(crate) async fn token_info(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
) -> Result<Json<TokenInfo>, ApiError> {
    let project = api.parts.store.find_project(tenant.id().as_uuid()).await?;
    let counters = project.map_or(tenant.project.counters, |project| project.counters);
    Ok(Json(TokenInfo {
        tokens: counters.tokens,
        tokens_used: counters.used,
        remaining_tokens: counters.tokens.map(|tokens| (tokens - counters.used).max(0)),
        has_unlimited_tokens: counters.tokens.is_none(),
    }))
}

/// Read the sandbox inbox
///
/// What went there instead of to people in the last 24 hours, newest first.
#[utoipa::path(
    get,
    path = "/api/v1/sandbox/messages",
    operation_id = "sandboxMessages",
    params(MessagesParams),
    responses(
        (status = 200, description = "The messages", body = Messages),
        (status = 403, description = "The key is a live one", body = V1Error),
    ),
)]
pub(crate) async fn sandbox_messages(
    State(api): State<Api>,
    Authenticated(tenant): Authenticated,
    RawQuery(raw): RawQuery,
) -> Result<Json<Messages>, ApiError> {
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
        Some(Message {
            id: message.id.to_string(),
            target: opened.target,
            channel: message.channel.as_str(),
            code: opened.code,
            subject: opened.subject,
            text: opened.text,
            html: opened.html,
            created_at: message.created.rfc3339(),
        })
    });
    Ok(Json(Messages { messages: shown.collect() }))
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
