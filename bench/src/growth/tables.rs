//! Where loaded rows go: the tables with the columns that are filled, in the order in which they are written.

use sqlx::PgConnection;

use super::copy::Rows;
use crate::failure::Outcome;

/// A table and its columns.
struct Table {
    name: &'static str,
    columns: &'static str,
}

const VERIFICATIONS: Table = Table {
    name: "verifications",
    columns: "id, project_id, mode, channel, country, record_id, locale, target, target_tag, key_id, code_hash, code, \
              guesses, budget, sends, expires_at, state, closed_at, session",
};
const DISPATCHES: Table = Table {
    name: "dispatches",
    columns: "verification_id, n, project_id, mode, channel, newest, status, attempt, first_attempt_at, pass, tried, \
              ambiguous, provider, reason, charge, created_at, sent_at, delivered_at",
};
const ATTEMPTS: Table = Table {
    name: "attempts",
    columns: "verification_id, dispatch_n, n, provider, started_at, finished_at, status, cause, detail, message_id, \
              chosen",
};
const RECEIPTS: Table = Table {
    name: "receipts",
    columns: "id, provider, message_id, verification_id, dispatch_n, attempt_n, status, received_at",
};
const MESSAGE_IDS: Table =
    Table { name: "message_ids", columns: "provider, message_id, verification_id, dispatch_n, attempt_n, created_at" };
const OPEN_TARGETS: Table =
    Table { name: "open_targets", columns: "project_id, target, record_id, mode, verification_id, expires_at" };
const IDEMPOTENCY_KEYS: Table = Table {
    name: "idempotency_keys",
    columns: "project_id, mode, key, request, verification_id, dispatch_n, expires_in, created_at",
};
const LIMITS: Table = Table { name: "limits", columns: "key, time0, time1, time2" };
const STATS: Table = Table { name: "stats_hourly", columns: "project_id, mode, hour, dimension, value, count" };

/// The tables that are partitioned by day, and may be emptied before they are filled.
pub(super) const BY_DAY: [&str; 3] = [VERIFICATIONS.name, DISPATCHES.name, ATTEMPTS.name];

impl Table {
    fn copy(&self, suffix: &str, options: &str) -> String {
        let Self { name, columns } = self;
        format!("copy {name}{suffix} ({columns}) from stdin with (format binary{options})")
    }
}

/// Rows that are ready to be sent.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) verifications: Rows,
    pub(super) dispatches: Rows,
    pub(super) attempts: Rows,
    pub(super) receipts: Rows,
    pub(super) message_ids: Rows,
    pub(super) open_targets: Rows,
    pub(super) idempotency_keys: Rows,
    pub(super) limits: Rows,
    pub(super) stats: Rows,
}

impl Ready {
    /// Sends all of it, into the partitions of a day. These were emptied in the same transaction, so that their rows can be
    /// frozen at once: they need no vacuum later, as those of a database that has lived so long.
    pub(super) async fn send(&mut self, connection: &mut PgConnection, day: &str) -> Outcome<u64> {
        let suffix = format!("_{day}");
        let mut rows = 0;
        let of_day = [
            (&mut self.verifications, VERIFICATIONS),
            (&mut self.dispatches, DISPATCHES),
            (&mut self.attempts, ATTEMPTS),
        ];
        for (ready, table) in of_day {
            rows += ready.send(connection, &table.copy(&suffix, ", freeze")).await?;
        }
        let others = [
            (&mut self.receipts, RECEIPTS),
            (&mut self.message_ids, MESSAGE_IDS),
            (&mut self.open_targets, OPEN_TARGETS),
            (&mut self.idempotency_keys, IDEMPOTENCY_KEYS),
            (&mut self.limits, LIMITS),
            (&mut self.stats, STATS),
        ];
        for (ready, table) in others {
            rows += ready.send(connection, &table.copy("", "")).await?;
        }
        Ok(rows)
    }
}
