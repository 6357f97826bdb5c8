//! A store with one project in it, and short words for what the scenarios do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::keys::{IndexKind, Keyring};
use common::otp::accept::{Accept, Accepted, Idempotency, Refusal};
use common::otp::changes::Dimension;
use common::otp::channel::{Channel, Mode};
use common::otp::claim::{Claim, Claimed, Unclaimed};
use common::otp::code::Code;
use common::otp::finish::{Call, Failure, Finish, Finished, Handed, Next};
use common::otp::guess::{Guess, Verdict};
use common::otp::ids::{AttemptId, DispatchId, ProjectId, VerificationId};
use common::otp::limits::Window;
use common::otp::provider_error::Cause;
use common::otp::relay::DueJob;
use common::otp::rows::{
    Counters, Dispatch, Due, Index, Indexes, Limit, LimitName, Receipt, Sealed, State, Verification,
};
use common::otp::settings::ProjectSettings;
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use common::store::projects::Project;
use common::store::records::{Page, RecordFilter, Timeline};
use common::store::{Lane, Store, Tx};
use common::tenancy::new_project_id;
use secrecy::SecretString;
use uuid::Uuid;

/// 2025-07-13T10:30:00Z.
pub(crate) const T0: Timestamp = Timestamp::from_ms(1_752_402_600_000);
pub(crate) const CODE: &str = "012345";
pub(crate) const WRONG: &str = "999999";
pub(crate) const ANN: &str = "+4915112345678";
pub(crate) const BOB: &str = "bob@example.com";
pub(crate) const LEASE: Duration = Duration::from_secs(15);

/// So many seconds after the beginning.
pub(crate) fn at(seconds: u64) -> Timestamp {
    T0 + Duration::from_secs(seconds)
}

pub(crate) struct World {
    /// The first of `processes`.
    pub(crate) store: Store,
    pub(crate) processes: Processes,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) project: Project,
}

/// Several programs on one store, which take turns.
#[derive(Clone)]
pub(crate) struct Processes {
    stores: Arc<[Store]>,
    turn: Arc<AtomicUsize>,
}

impl Processes {
    pub(crate) fn new(stores: Vec<Store>) -> Self {
        Self { stores: stores.into(), turn: Arc::default() }
    }

    pub(crate) fn next(&self) -> &Store {
        &self.stores[self.turn.fetch_add(1, Ordering::Relaxed) % self.stores.len()]
    }
}

impl World {
    pub(crate) async fn new(store: Store) -> Self {
        Self::of(vec![store]).await
    }

    pub(crate) async fn of(stores: Vec<Store>) -> Self {
        let (store, processes) = (stores[0].clone(), Processes::new(stores));
        let root = SecretString::from("07".repeat(32));
        let keys = Arc::new(Keyring::new(&root, &[]).expect("a root key"));
        let project = new_project(None);
        store.create_project(&project).await.expect("created");
        Self { store, processes, keys, project }
    }

    /// The same store with a new project that has so many tokens.
    pub(crate) async fn with_tokens(self, tokens: i64) -> Self {
        let project = new_project(Some(tokens));
        self.store.create_project(&project).await.expect("created");
        Self { project, ..self }
    }

    /// The same store as another project sees it.
    pub(crate) async fn other_project(&self) -> Self {
        let project = new_project(None);
        self.store.create_project(&project).await.expect("created");
        Self { store: self.store.clone(), processes: self.processes.clone(), keys: Arc::clone(&self.keys), project }
    }

    pub(crate) fn id(&self) -> ProjectId {
        self.project.id
    }

    /// A request to send [`CODE`], which lives 300 s, without limits.
    pub(crate) fn request(&self, now: Timestamp, target: &str) -> Request {
        let id = VerificationId::new(now);
        let is_email = target.contains('@');
        let code = Code::parse(CODE).expect("a code");
        let settings = Arc::clone(&self.project.settings);
        let candidate = Verification {
            id,
            project: self.id(),
            mode: Mode::Live,
            channel: if is_email { Channel::Email } else { Channel::Sms },
            country: (!is_email).then(|| "DE".to_owned()),
            record: String::new(),
            locale: "en".to_owned(),
            target: Sealed(target.as_bytes().to_vec()),
            target_tag: self.tag(target),
            key_id: self.keys.newest_id(),
            code_hash: self.keys.code_hash(self.id(), id, &code),
            code: Some(self.keys.seal_code(id, &code).expect("sealed")),
            guesses: 0,
            budget: settings.guesses.into(),
            carried: None,
            sends: 1,
            expires: now + settings.life(),
            state: State::Open,
            closed: None,
            session: false,
            own_code: false,
        };
        Request(Accept {
            settings,
            target: self.indexes(target),
            subject: None,
            limits: vec![],
            idempotency: None,
            candidate,
            fallbacks: vec![],
        })
    }

    pub(crate) fn indexes(&self, target: &str) -> Indexes {
        self.keys.indexes(IndexKind::Target, &[self.id().as_uuid().as_bytes(), target.as_bytes()])
    }

    /// A target's index under the key of the day; here, any other.
    pub(crate) fn tag(&self, target: &str) -> Index {
        self.keys.indexes(IndexKind::TargetLimit, &[b"tag", target.as_bytes()]).newest
    }

    pub(crate) async fn accept(&self, now: Timestamp, batch: &[Accept]) -> Vec<Result<Accepted, Refusal>> {
        self.processes.next().accept(now, batch).await.expect("accepted")
    }

    pub(crate) async fn accept_one(&self, now: Timestamp, request: Accept) -> Result<Accepted, Refusal> {
        self.accept(now, &[request]).await.remove(0)
    }

    /// Sends to a target and answers the dispatch.
    pub(crate) async fn send(&self, now: Timestamp, target: &str) -> DispatchId {
        self.accept_one(now, self.request(now, target).0).await.expect("accepted").dispatch
    }

    /// A send that a provider took as `message_id`.
    pub(crate) async fn sent(&self, now: Timestamp, target: &str, message_id: &str) -> DispatchId {
        let dispatch = self.send(now, target).await;
        let attempt = self.claimed(now, dispatch, 1).await;
        self.finish(now, taken(now, attempt, message_id)).await;
        dispatch
    }

    pub(crate) async fn claim(&self, now: Timestamp, dispatch: DispatchId, n: i16) -> Result<Claimed, Unclaimed> {
        let claim = Claim { attempt: AttemptId { dispatch, n }, lease: LEASE };
        self.processes.next().claim(now, &[claim]).await.expect("claims").remove(0)
    }

    pub(crate) async fn claimed(&self, now: Timestamp, dispatch: DispatchId, n: i16) -> AttemptId {
        self.claim(now, dispatch, n).await.expect("claimed").attempt()
    }

    pub(crate) async fn finish(&self, now: Timestamp, finish: Finish) -> Finished {
        self.processes.next().finish(now, &[finish]).await.expect("finished").remove(0)
    }

    /// A guess of a live key that names no record.
    pub(crate) fn guess(&self, target: &str, code: &str) -> Guess {
        Guess {
            project: self.id(),
            modes: Mode::Live.visible(),
            target: self.indexes(target),
            record: None,
            by_id: None,
            code: Code::parse(code).expect("a code"),
            erase: false,
            limits: vec![],
        }
    }

    pub(crate) async fn verify(&self, now: Timestamp, batch: &[Guess]) -> Vec<Verdict> {
        self.processes.next().verify(now, &self.keys, batch).await.expect("verdicts")
    }

    pub(crate) async fn verify_one(&self, now: Timestamp, guess: Guess) -> Verdict {
        self.verify(now, &[guess]).await.remove(0)
    }

    /// Guesses wrong so many times, one after the other.
    pub(crate) async fn guess_wrong(&self, now: Timestamp, target: &str, times: usize) {
        for _ in 0..times {
            self.verify_one(now, self.guess(target, WRONG)).await;
        }
    }

    pub(crate) async fn receive(&self, receipt: Receipt) -> common::otp::receipt::Received {
        self.processes.next().receive(receipt.received, &[receipt]).await.expect("received").remove(0)
    }

    /// Looks at what is due without chance in the delays.
    pub(crate) async fn relay(&self, now: Timestamp, limit: u32) -> Vec<DueJob> {
        self.processes.next().relay(now, limit, limit, &mut || 0.5).await.expect("relayed")
    }

    pub(crate) async fn dispatch(&self, id: DispatchId) -> Dispatch {
        self.store.find_dispatch(id).await.expect("found").expect("a dispatch").0
    }

    pub(crate) async fn verification(&self, id: VerificationId) -> Verification {
        self.timeline(id).await.verification
    }

    pub(crate) async fn timeline(&self, id: VerificationId) -> Timeline {
        let found = self.store.timeline(self.id(), Mode::Live.visible(), id).await;
        found.expect("found").expect("a verification")
    }

    pub(crate) async fn tokens_used(&self) -> i64 {
        let project = self.store.find_project(self.id().as_uuid()).await;
        project.expect("found").expect("a project").counters.used
    }

    pub(crate) async fn begin(&self) -> Box<dyn Tx> {
        self.store.begin(Lane::Any, at(0)).await.expect("a transaction")
    }

    /// Everything that will ever be due, earliest deadline first.
    pub(crate) async fn due(&self) -> Vec<Due> {
        let mut tx = self.begin().await;
        let due = tx.lock_due(at(1_000_000), 10_000).await.expect("due rows");
        tx.commit().await.expect("unlocked");
        due.into_iter().map(|(due, _)| due).collect()
    }

    /// One counter over all hours and modes.
    pub(crate) async fn counted(&self, dimension: Dimension, value: &str) -> i64 {
        let counts =
            self.store.stats(self.id(), Mode::Live.visible(), &Dimension::ALL, None, None).await.expect("stats");
        let matching = counts.iter().filter(|count| count.dimension == dimension && count.value == value);
        matching.map(|count| count.count).sum()
    }

    pub(crate) fn filter(&self) -> RecordFilter {
        RecordFilter {
            project: self.id(),
            modes: Mode::Live.visible(),
            channel: None,
            verified: None,
            status: None,
            record: None,
            from: None,
            until: None,
        }
    }

    /// Every row that a send could touch, as text to compare.
    pub(crate) async fn everything(&self, request: &Accept) -> String {
        let page = Page { before: None, offset: 0, limit: 1000 };
        let records = self.store.list_records(&self.filter(), page).await.expect("records");
        let project = self.store.find_project(self.id().as_uuid()).await.expect("found");
        let stats =
            self.store.stats(self.id(), Mode::Live.visible(), &Dimension::ALL, None, None).await.expect("stats");
        let due = self.due().await;
        let mut tx = self.begin().await;
        let keys: Vec<_> = request.limits.iter().map(|limit| limit.key.newest).collect();
        let limits = tx.read_limits(&keys).await.expect("limits");
        let limits: Vec<_> = keys.iter().map(|key| limits.get(key)).collect();
        let targets: Vec<_> = request.target.all().map(|target| (self.id(), target)).collect();
        let open = tx.read_open_targets(&targets).await.expect("pointers");
        format!("{records:?} {project:?} {stats:?} {due:?} {limits:?} {open:?}")
    }
}

fn new_project(tokens: Option<i64>) -> Project {
    Project {
        id: new_project_id(),
        name: "shop".to_owned(),
        sandbox: false,
        settings: Arc::new(ProjectSettings::default()),
        counters: Counters { tokens, used: 0, rate: Timestamp::default() },
        created: T0,
    }
}

/// A request to send, to be varied.
#[derive(Clone)]
pub(crate) struct Request(pub(crate) Accept);

impl Request {
    pub(crate) fn record(mut self, record: &str) -> Self {
        record.clone_into(&mut self.0.candidate.record);
        self
    }

    pub(crate) fn sandbox(mut self) -> Self {
        self.0.candidate.mode = Mode::Sandbox;
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut ProjectSettings)) -> Self {
        change(Arc::make_mut(&mut self.0.settings));
        self
    }

    pub(crate) fn limit(mut self, limit: Limit) -> Self {
        self.0.limits.push(limit);
        self
    }

    pub(crate) fn key(mut self, key: u8, request: u8) -> Self {
        self.0.idempotency = Some(Idempotency { key: only([key; 16]), requests: vec![[request; 32]] });
        self
    }
}

pub(crate) const fn attempt(dispatch: DispatchId, n: i16) -> AttemptId {
    AttemptId { dispatch, n }
}

/// An index that no older key knows another name for.
pub(crate) fn only(newest: Index) -> Indexes {
    Indexes { newest, older: Box::default() }
}

/// `burst` events in each hour, of the subject `key`.
pub(crate) fn hourly(name: LimitName, key: u8, burst: u32) -> Limit {
    Limit { name, key: only([key; 16]), windows: vec![Window::new(burst, Duration::from_secs(3600))] }
}

fn call(now: Timestamp, outcome: Result<Handed, Failure>) -> Option<Call> {
    Some(Call {
        provider: "acme".to_owned(),
        chosen: "the only provider".to_owned(),
        started: now,
        finished: now,
        outcome,
    })
}

/// The provider `acme` took the message.
pub(crate) fn taken(now: Timestamp, attempt: AttemptId, message_id: &str) -> Finish {
    let handed = Handed { message_id: Some(message_id.to_owned()), delivered: false };
    Finish { attempt, call: call(now, Ok(handed)), next: Next::Done }
}

/// The provider `acme` did not take the message.
pub(crate) fn failed(now: Timestamp, attempt: AttemptId, cause: Cause, next: Next) -> Finish {
    Finish { attempt, call: call(now, Err(Failure { cause, detail: "no".to_owned() })), next }
}

/// What `acme` says later.
pub(crate) fn receipt(now: Timestamp, message_id: &str, status: ReceiptStatus) -> Receipt {
    Receipt {
        id: Uuid::now_v7(),
        provider: "acme".to_owned(),
        message_id: message_id.to_owned(),
        attempt: None,
        status,
        detail: None,
        received: now,
    }
}
