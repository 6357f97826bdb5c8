//! PostgreSQL's binary COPY: rows written into a buffer, and buffers sent into a table.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::failure::Outcome;

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1_i16).to_be_bytes();
/// Bytes of one message to the server.
const MESSAGE: usize = 256 * 1024;

/// A value of a column.
pub(super) trait Field {
    fn put(&self, into: &mut Vec<u8>);
}

fn sized(bytes: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    into.extend_from_slice(bytes);
}

macro_rules! numbers {
    ($($number:ty),+) => {
        $(impl Field for $number {
            fn put(&self, into: &mut Vec<u8>) {
                sized(&self.to_be_bytes(), into);
            }
        })+
    };
}
numbers!(i16, i32, i64);

impl Field for bool {
    fn put(&self, into: &mut Vec<u8>) {
        sized(&[u8::from(*self)], into);
    }
}

impl Field for Uuid {
    fn put(&self, into: &mut Vec<u8>) {
        sized(self.as_bytes(), into);
    }
}

impl Field for &str {
    fn put(&self, into: &mut Vec<u8>) {
        sized(self.as_bytes(), into);
    }
}

impl Field for &[u8] {
    fn put(&self, into: &mut Vec<u8>) {
        sized(self, into);
    }
}

impl<const N: usize> Field for [u8; N] {
    fn put(&self, into: &mut Vec<u8>) {
        sized(self, into);
    }
}

impl<T: Field> Field for Option<T> {
    fn put(&self, into: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(into),
            None => into.extend_from_slice(&(-1_i32).to_be_bytes()),
        }
    }
}

/// Rows of one table that have not been sent yet.
#[derive(Debug, Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    number: u64,
}

impl Rows {
    /// Appends a row: its values in the order of the table's columns.
    pub(super) fn add(&mut self, fields: &[&dyn Field]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        self.bytes.extend_from_slice(&i16::try_from(fields.len()).unwrap_or(i16::MAX).to_be_bytes());
        for field in fields {
            field.put(&mut self.bytes);
        }
        self.number += 1;
    }

    /// Sends the rows into a table, and forgets them.
    pub(super) async fn send(&mut self, connection: &mut PgConnection, into: &str) -> Outcome<u64> {
        let number = std::mem::take(&mut self.number);
        if number == 0 {
            return Ok(0);
        }
        self.bytes.extend_from_slice(&END);
        let mut copy = connection.copy_in_raw(into).await?;
        for part in self.bytes.chunks(MESSAGE) {
            copy.send(part).await?;
        }
        copy.finish().await?;
        self.bytes.clear();
        Ok(number)
    }
}
