//! Between arrays of columns and rows: one way for writing (`column`), one for reading (`Columns`).

use sqlx::postgres::PgRow;
use sqlx::{Decode, Postgres, Row, Type};
use uuid::Uuid;

use crate::otp::channel::Mode;
use crate::otp::ids::{ProjectId, VerificationId};
use crate::otp::rows::Sealed;
use crate::otp::time::Timestamp;
use crate::store::{Result, StoreError};

/// One column of `rows`, as an array to be unnested.
pub(super) fn column<'a, R, T>(rows: &[&'a R], of: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| of(row)).collect()
}

/// The modes as their column holds them.
pub(super) fn mode_codes(modes: &[Mode]) -> Vec<i16> {
    modes.iter().map(|mode| mode.code()).collect()
}

/// Takes the columns of a row in the order in which the statement names them.
pub(super) struct Columns<'r> {
    row: &'r PgRow,
    next: usize,
}

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r PgRow) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn take<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T> {
        let value = self.row.try_get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    /// Passes over columns.
    pub(super) const fn skip(&mut self, columns: usize) -> &mut Self {
        self.next += columns;
        self
    }

    /// A small number that stands for a variant.
    pub(super) fn code<T>(&mut self, read: impl Fn(i16) -> Option<T>) -> Result<T> {
        let code = self.take()?;
        read(code).ok_or_else(|| self.unfit(&format!("has the unknown code {code}")))
    }

    pub(super) fn code_if_any<T>(&mut self, read: impl Fn(i16) -> Option<T>) -> Result<Option<T>> {
        let Some(code) = self.take()? else { return Ok(None) };
        read(code).map(Some).ok_or_else(|| self.unfit(&format!("has the unknown code {code}")))
    }

    pub(super) fn mode(&mut self) -> Result<Mode> {
        Ok(Mode::from_code(self.take()?))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        Ok(Timestamp::from_ms(self.take()?))
    }

    pub(super) fn time_if_any(&mut self) -> Result<Option<Timestamp>> {
        Ok(self.take::<Option<i64>>()?.map(Timestamp::from_ms))
    }

    pub(super) fn project(&mut self) -> Result<ProjectId> {
        Ok(ProjectId::from_row(self.take()?))
    }

    pub(super) fn verification(&mut self) -> Result<VerificationId> {
        Ok(VerificationId::from_uuid(self.take::<Uuid>()?))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes: &[u8] = self.take()?;
        bytes.try_into().map_err(|_| self.unfit(&format!("has {} bytes, not {N}", bytes.len())))
    }

    pub(super) fn sealed(&mut self) -> Result<Sealed> {
        Ok(Sealed(self.take()?))
    }

    pub(super) fn sealed_if_any(&mut self) -> Result<Option<Sealed>> {
        Ok(self.take::<Option<Vec<u8>>>()?.map(Sealed))
    }

    /// The column that was taken last holds what this program does not know.
    fn unfit(&self, what: &str) -> StoreError {
        let name = sqlx::Column::name(self.row.column(self.next - 1));
        StoreError::Refused(format!("the column {name} {what}"))
    }
}

/// Milliseconds, for columns that may hold no time.
pub(super) fn ms(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_ms)
}

/// The first and the last of some verifications. Named in a statement, they keep it from opening the partitions of all
/// other days, which takes longer than what it does in one.
pub(super) fn range(ids: impl Iterator<Item = VerificationId> + Clone) -> (Uuid, Uuid) {
    let first = ids.clone().min().map_or(Uuid::nil(), |id| id.as_uuid());
    (first, ids.max().map_or(Uuid::nil(), |id| id.as_uuid()))
}
