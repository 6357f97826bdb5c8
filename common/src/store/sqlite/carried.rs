//! What providers have carried lately: dispatches by provider, channel and country.

use async_trait::async_trait;
use sqlx::FromRow;

use super::SqliteBackend;
use super::rows::known;
use crate::otp::channel::{Channel, Mode};
use crate::store::Result;
use crate::store::carried::{Bounds, Carried, CarriedSince, Carriers, Counts, Group, SAMPLE, together};

/// Of verifications opened between `$1` and `$2`.
macro_rules! sample {
    () => {
        "with sample as (
             select verification_id, provider, channel, newest, sent_at, delivered_at, target_of, country
               from dispatches
              where verification_id >= $1 and verification_id < $2 and mode = $3
                and provider is not null and sent_at is not null
              order by verification_id desc
              limit $4) "
    };
}

const RECEIPTS: &str = concat!(
    sample!(),
    "select d.provider, d.channel, case when d.target_of is null then v.country else d.country end as country,
            count(*) as handed,
            count(*) filter (where d.delivered_at <= d.sent_at + $5) as in_time, count(d.delivered_at) as delivered,
            0 as asked, 0 as verified
       from sample d
       join verifications v on v.id = d.verification_id
      group by 1, 2, 3"
);

const CODES: &str = concat!(
    sample!(),
    "select d.provider, d.channel, case when d.target_of is null then v.country else d.country end as country,
            0 as handed, 0 as in_time, 0 as delivered, count(*) as asked,
            count(*) filter (where v.state = 1 and d.newest) as verified
       from sample d
       join verifications v on v.id = d.verification_id
      where v.budget > 0
      group by 1, 2, 3"
);

#[derive(FromRow)]
struct Row {
    provider: String,
    channel: i16,
    country: Option<String>,
    handed: u32,
    in_time: u32,
    delivered: u32,
    asked: u32,
    verified: u32,
}

#[async_trait]
impl Carriers for SqliteBackend {
    async fn carried(&self, since: &CarriedSince) -> Result<Vec<Carried>> {
        let Bounds { receipts, late_ms, codes } = Bounds::of(since);
        let live = Mode::Live.code();
        let receipts = sqlx::query_as(RECEIPTS).bind(receipts.0).bind(receipts.1).bind(live).bind(SAMPLE);
        let mut rows: Vec<Row> = receipts.bind(late_ms).fetch_all(&self.reads).await?;
        let codes = sqlx::query_as(CODES).bind(codes.0).bind(codes.1).bind(live).bind(SAMPLE);
        rows.extend(codes.fetch_all(&self.reads).await?);
        let groups: Vec<_> = rows.into_iter().map(group).collect::<Result<_>>()?;
        Ok(together(groups.into_iter()))
    }
}

fn group(row: Row) -> Result<Group> {
    let Row { handed, in_time, delivered, asked, verified, .. } = row;
    let channel = known(Channel::from_code(row.channel), "dispatches.channel")?;
    Ok((row.provider, channel, row.country, Counts { handed, in_time, delivered, asked, verified }))
}
