//! What providers have carried lately: dispatches of the last partitions, by provider, channel and country.

use async_trait::async_trait;
use sqlx::query;

use super::PgBackend;
use super::columns::Columns;
use super::patience::answered;
use crate::otp::channel::{Channel, Mode};
use crate::store::carried::{Bounds, Carried, CarriedSince, Carriers, Counts, Group, SAMPLE, together};
use crate::store::{Result, StoreError};

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
    "select d.provider, d.channel, case when d.target_of is null then v.country else d.country end,
            count(*), count(*) filter (where d.delivered_at <= d.sent_at + $5), count(d.delivered_at)
     from sample d
     join verifications v on v.id = d.verification_id and v.id >= $1 and v.id < $2
     group by 1, 2, 3"
);

const CODES: &str = concat!(
    sample!(),
    "select d.provider, d.channel, case when d.target_of is null then v.country else d.country end,
            count(*), count(*) filter (where v.state = 1 and d.newest)
     from sample d
     join verifications v on v.id = d.verification_id and v.id >= $1 and v.id < $2
     where v.budget > 0
     group by 1, 2, 3"
);

#[async_trait]
impl Carriers for PgBackend {
    async fn carried(&self, since: &CarriedSince) -> Result<Vec<Carried>> {
        let Bounds { receipts, late_ms, codes } = Bounds::of(since);
        let live = Mode::Live.code();
        let receipts = query(RECEIPTS).bind(receipts.0).bind(receipts.1).bind(live).bind(SAMPLE).bind(late_ms);
        let receipts = answered(async { Ok(receipts.fetch_all(&self.pool).await?) }).await?;
        let codes = query(CODES).bind(codes.0).bind(codes.1).bind(live).bind(SAMPLE);
        let codes = answered(async { Ok(codes.fetch_all(&self.pool).await?) }).await?;
        let receipts = receipts.iter().map(|row| {
            group(Columns::of(row), |count| {
                Ok(Counts { handed: count()?, in_time: count()?, delivered: count()?, ..Counts::default() })
            })
        });
        let codes = codes.iter().map(|row| {
            group(Columns::of(row), |count| Ok(Counts { asked: count()?, verified: count()?, ..Counts::default() }))
        });
        let groups: Vec<_> = receipts.chain(codes).collect::<Result<_>>()?;
        Ok(together(groups.into_iter()))
    }
}

type Count<'a> = dyn FnMut() -> Result<u32> + 'a;

fn group(mut row: Columns<'_>, read: impl Fn(&mut Count<'_>) -> Result<Counts>) -> Result<Group> {
    let (provider, channel, country) = (row.take()?, row.code(Channel::from_code)?, row.take()?);
    let mut count = || Ok::<_, StoreError>(u32::try_from(row.take::<i64>()?).unwrap_or(u32::MAX));
    Ok((provider, channel, country, read(&mut count)?))
}
