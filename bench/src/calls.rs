//! The calls of a client, written out: sends to fresh numbers, guesses of codes that arrived, and looking back.

use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::journal::Journal;
use crate::load::Calls;
use crate::numbers::Numbers;

const SEND: &str = "/api/v1/otp/send";
const VERIFY: &str = "/api/v1/otp/verify";
const CODES: u32 = 1_000_000;
/// What is in the reply to a right guess.
const RIGHT: &[u8] = b"\"valid\":true";

/// A tenant and its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Project {
    #[serde(rename = "project_id")]
    pub(crate) id: String,
    #[serde(rename = "live_key")]
    pub(crate) key: String,
}

/// The head of a project's requests up to what differs in each.
fn head(path: &str, project: &Project) -> Vec<u8> {
    let Project { id, key } = project;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nx-api-key: {key}\r\n\
         x-project-id: {id}\r\n"
    );
    head.into_bytes()
}

fn heads(path: &str, projects: &[Project]) -> Vec<Vec<u8>> {
    projects.iter().map(|project| head(path, project)).collect()
}

/// The head of a send's or a guess's project: sends go to the projects in turn, and guesses follow their send.
fn of_turn(heads: &[Vec<u8>], index: u64) -> &[u8] {
    let turn = usize::try_from(index).unwrap_or(0) % heads.len().max(1);
    heads.get(turn).map_or(&[], Vec::as_slice)
}

/// Sends, each to a number and with an idempotency key of its own.
#[derive(Debug)]
pub(crate) struct Sends {
    heads: Vec<Vec<u8>>,
    numbers: Numbers,
    run: String,
    journal: Option<Arc<Journal>>,
}

impl Sends {
    pub(crate) fn new(projects: &[Project], numbers: Numbers, journal: Option<Arc<Journal>>) -> Self {
        Self { heads: heads(SEND, projects), numbers, run: Uuid::now_v7().simple().to_string(), journal }
    }
}

impl Calls for Sends {
    fn write(&self, index: u64, into: &mut Vec<u8>) {
        const BEFORE: &[u8] = b"{\"target\":\"";
        const AFTER: &[u8] = b"\",\"channel\":\"sms\"}";
        into.extend_from_slice(of_turn(&self.heads, index));
        // A number has 14 characters.
        let rest = format!("idempotency-key: {}-{index}\r\ncontent-length: {}\r\n\r\n", self.run, 14 + 29);
        into.extend_from_slice(rest.as_bytes());
        into.extend_from_slice(BEFORE);
        self.numbers.write(index, into);
        into.extend_from_slice(AFTER);
    }

    fn is_right(&self, _index: u64, status: u16, _body: &[u8]) -> bool {
        status == 202
    }

    fn starts(&self, index: u64, intended: Instant) {
        if let Some(journal) = &self.journal {
            journal.starts(index, intended);
        }
    }
}

/// Guesses of sends `0` to `sends`: first a wrong one of each, then the right one of each.
#[derive(Debug)]
pub(crate) struct Guesses {
    heads: Vec<Vec<u8>>,
    numbers: Numbers,
    journal: Arc<Journal>,
    sends: u64,
}

impl Guesses {
    pub(crate) fn new(projects: &[Project], numbers: Numbers, journal: Arc<Journal>, sends: u64) -> Self {
        Self { heads: heads(VERIFY, projects), numbers, journal, sends }
    }

    fn is_wrong(&self, index: u64) -> bool {
        index < self.sends
    }

    fn write_guess(&self, send: u64, guess: u32, into: &mut Vec<u8>) {
        let body = format!("{{\"target\":\"{}\",\"code\":\"{guess:06}\"}}", self.numbers.text(send));
        into.extend_from_slice(of_turn(&self.heads, send));
        into.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
}

impl Calls for Guesses {
    fn write(&self, index: u64, into: &mut Vec<u8>) {
        let send = index % self.sends;
        let code = self.journal.code(send).unwrap_or(0);
        let guess = if self.is_wrong(index) { (code + 1) % CODES } else { code };
        self.write_guess(send, guess, into);
    }

    fn is_right(&self, index: u64, status: u16, body: &[u8]) -> bool {
        let expected: &[u8] = if self.is_wrong(index) { b"\"valid\":false" } else { RIGHT };
        status == 200 && body.windows(expected.len()).any(|window| window == expected)
    }
}

/// The right guess of each send, as far as its code has arrived.
#[derive(Debug)]
pub(crate) struct Verdicts(Guesses);

impl Verdicts {
    pub(crate) fn new(projects: &[Project], numbers: Numbers, journal: Arc<Journal>) -> Self {
        // None of them is among the wrong ones.
        Self(Guesses { heads: heads(VERIFY, projects), numbers, journal, sends: 0 })
    }
}

impl Calls for Verdicts {
    fn write(&self, index: u64, into: &mut Vec<u8>) {
        self.0.write_guess(index, self.0.journal.code(index).unwrap_or(0), into);
    }

    fn is_right(&self, _index: u64, status: u16, body: &[u8]) -> bool {
        status == 200 && body.windows(RIGHT.len()).any(|window| window == RIGHT)
    }
}

/// Wrong guesses, of sends and in between of a verification of another day, so that batches hold both.
#[derive(Debug)]
pub(crate) struct MixedGuesses {
    guesses: Guesses,
    /// A verification of each project.
    older: Vec<Uuid>,
}

impl MixedGuesses {
    pub(crate) fn new(guesses: Guesses, older: Vec<Uuid>) -> Self {
        Self { guesses, older }
    }
}

impl Calls for MixedGuesses {
    fn write(&self, index: u64, into: &mut Vec<u8>) {
        let Guesses { heads, numbers, .. } = &self.guesses;
        let turn = usize::try_from(index).unwrap_or(0) % self.older.len().max(1);
        let older = self.older.get(turn).filter(|_| index.is_multiple_of(2));
        let record = older.map_or_else(String::new, |id| format!(",\"recordId\":\"{id}\""));
        let body = format!("{{\"target\":\"{}\",\"code\":\"000000\"{record}}}", numbers.text(index));
        into.extend_from_slice(of_turn(heads, index));
        into.extend_from_slice(format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    fn is_right(&self, _index: u64, status: u16, _body: &[u8]) -> bool {
        status == 200
    }
}

/// Looking back: each project asks for each path in turn.
#[derive(Debug)]
pub(crate) struct Looks {
    requests: Vec<Vec<u8>>,
}

impl Looks {
    pub(crate) fn new(projects: &[Project], paths: &[String]) -> Self {
        let request = |(project, path): (&Project, &String)| {
            let Project { id, key } = project;
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {key}\r\nx-project-id: {id}\r\n\r\n").into_bytes()
        };
        let all = paths.iter().flat_map(|path| projects.iter().map(move |project| (project, path)));
        Self { requests: all.map(request).collect() }
    }
}

impl Calls for Looks {
    fn write(&self, index: u64, into: &mut Vec<u8>) {
        into.extend_from_slice(of_turn(&self.requests, index));
    }

    fn is_right(&self, _index: u64, status: u16, body: &[u8]) -> bool {
        status == 200 && body.starts_with(b"{")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projects() -> Vec<Project> {
        ["PRJ_1", "PRJ_2"].map(|id| Project { id: id.to_owned(), key: format!("key of {id}") }).into()
    }

    fn written(calls: &impl Calls, index: u64) -> (String, String) {
        let mut request = Vec::new();
        calls.write(index, &mut request);
        let text = String::from_utf8(request).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a body");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
        (head.to_owned(), body.to_owned())
    }

    #[test]
    fn every_send_has_a_number_and_a_key_of_its_own_and_projects_take_turns() {
        let numbers = Numbers::fresh();
        let sends = Sends::new(&projects(), numbers, None);
        let ((head0, body0), (head1, _)) = (written(&sends, 0), written(&sends, 1));
        assert!(head0.contains("PRJ_1") && head1.contains("PRJ_2"));
        assert_eq!(body0, format!("{{\"target\":\"{}\",\"channel\":\"sms\"}}", numbers.text(0)));
        let key = |head: &str| head.lines().find(|line| line.starts_with("idempotency-key")).map(str::to_owned);
        assert_ne!(key(&head0), key(&head1));
    }

    #[test]
    fn a_send_is_guessed_wrong_once_and_then_right() {
        let journal = Arc::new(Journal::new(3));
        journal.arrives(2, 999_999);
        let guesses = Guesses::new(&projects(), Numbers::fresh(), journal, 3);
        assert!(written(&guesses, 2).1.ends_with("\"code\":\"000000\"}"));
        assert!(written(&guesses, 5).1.ends_with("\"code\":\"999999\"}"));
        assert!(guesses.is_right(2, 200, b"{\"valid\":false}") && !guesses.is_right(5, 200, b"{\"valid\":false}"));
    }
}
