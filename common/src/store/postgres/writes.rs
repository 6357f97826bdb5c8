//! What a transaction writes, gathered into one statement: the server is asked once, not once a table.
//!
//! The parts run in no order that could be relied on, and none sees what another has written, so they must not be of the
//! same rows.

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, PgConnection, Postgres, SqlSafeStr, Type, query_with};

use crate::store::{Result, StoreError};

/// Statements whose numbered parameters follow each other.
#[derive(Default)]
pub(super) struct Writes {
    parts: Vec<String>,
    arguments: PgArguments,
    error: Option<BoxDynError>,
}

impl Writes {
    /// Begins a part. Its parameters are numbered from 1, as if it stood alone, and bound in that order.
    pub(super) fn statement(&mut self, sql: impl SqlSafeStr) -> &mut Self {
        self.parts.push(shifted(sql.into_sql_str().as_str(), self.arguments.len()));
        self
    }

    pub(super) fn bind<'t, T: Encode<'t, Postgres> + Type<Postgres>>(&mut self, value: T) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.error.get_or_insert(error);
        }
        self
    }

    /// Of some tables rows are inserted because they were not there when this transaction looked. Where somebody else has
    /// made one meanwhile, that is a conflict: the batch is tried again, on what is there then.
    pub(super) async fn run(self, connection: &mut PgConnection) -> Result<()> {
        if let Some(error) = self.error {
            return Err(sqlx::Error::Encode(error).into());
        }
        if self.parts.is_empty() {
            return Ok(());
        }
        // Made of safe texts alone.
        let all = AssertSqlSafe(together(self.parts));
        match query_with(all, self.arguments).execute(connection).await {
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() && is_met_at(error.table()) => {
                Err(StoreError::Conflict(error.to_string()))
            }
            written => Ok(written.map(drop)?),
        }
    }
}

/// Whether requests meet at rows of this table, which the first one makes.
fn is_met_at(table: Option<&str>) -> bool {
    table.is_some_and(|table| ["limits", "idempotency_keys", "open_targets"].contains(&table))
}

/// One part stands alone; of several each is a part of a query that asks for nothing.
fn together(mut parts: Vec<String>) -> String {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let named: Vec<_> = parts.iter().zip(1..).map(|(part, n)| format!("write_{n} as ({part})")).collect();
    format!("with {} select", named.join(", "))
}

/// The same statement with each parameter's number higher by so many.
fn shifted(sql: &str, by: usize) -> String {
    let mut pieces = sql.split('$');
    let mut shifted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_at(piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len()));
        let number = digits.parse::<usize>().map_or_else(|_| digits.to_owned(), |number| (number + by).to_string());
        shifted.push('$');
        shifted.push_str(&number);
        shifted.push_str(rest);
    }
    shifted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_those_of_the_parts_before() {
        assert_eq!(shifted("select $1::uuid[], $2", 0), "select $1::uuid[], $2");
        assert_eq!(shifted("a = $1 and b between $10 and $2", 9), "a = $10 and b between $19 and $11");
        assert_eq!(together(vec!["a".to_owned()]), "a");
        assert_eq!(together(vec!["a".to_owned(), "b".to_owned()]), "with write_1 as (a), write_2 as (b) select");
    }
}
