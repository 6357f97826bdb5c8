//! Several processes on the same rows: exact answers, and no deadlock whatever the order of a batch.

use std::sync::Arc;
use std::time::Duration;

use common::otp::accept::Accept;
use common::otp::claim::Claim;
use common::otp::finish::Next;
use common::otp::ids::{AttemptId, DispatchId};
use common::otp::provider_error::Cause;
use common::otp::rows::LimitName;
use common::otp::status::ReceiptStatus;
use futures_util::future::join_all;

use crate::database::{Database, with_database};
use crate::world::{CODE, LEASE, T0, WRONG, World, at, failed, hourly, receipt, taken};

const TARGETS: usize = 12;
const ROUNDS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sends_to_one_target_in_two_processes_one_is_accepted() {
    with_database(|database| async move {
        let one = database.world().await;
        let two = database.other_process(&one);
        for round in 0..20 {
            let request = one.request(T0, &format!("{round}@example.com"));
            let request = request.limit(hourly(LimitName::Target, round, 1)).key(round, 7).0;
            let mut again = two.request(T0, &format!("{round}@example.com"));
            again = again.limit(hourly(LimitName::Target, round, 1));
            let (batch, other) = ([request], [again.0]);
            let answers = tokio::join!(one.accept(T0, &batch), two.accept(T0, &other));
            let accepted = answers.0.iter().chain(&answers.1).filter(|answer| answer.is_ok()).count();
            assert_eq!(accepted, 1, "{answers:?}");
        }
        assert_eq!((one.tokens_used().await, database.rows("verifications").await), (20, 20));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_requests_with_one_key_in_two_processes_the_first_runs_and_the_other_replays() {
    with_database(|database| async move {
        let one = database.world().await;
        let two = database.other_process(&one);
        for round in 0..20 {
            let request = |world: &World| [world.request(T0, &format!("{round}@example.com")).key(round, 7).0];
            let (first, second) = (request(&one), request(&two));
            let (first, second) = tokio::join!(one.accept(T0, &first), two.accept(T0, &second));
            let (first, second) = (first[0].clone().expect("accepted"), second[0].clone().expect("accepted"));
            assert_eq!(first.dispatch, second.dispatch);
            assert_ne!(first.replayed, second.replayed);
        }
        assert_eq!(one.tokens_used().await, 20);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_relays_share_what_is_due() {
    with_database(|database| async move {
        let world = database.world().await;
        for n in 0..10 {
            world.send(T0, &format!("{n}@example.com")).await;
        }
        let (mut one, mut two) = (world.begin().await, world.begin().await);
        let first = one.lock_due(at(10), 5).await.expect("due");
        let second = two.lock_due(at(10), 10).await.expect("due");
        assert_eq!((first.len(), second.len()), (5, 5));
        assert!(first.iter().all(|(due, _)| second.iter().all(|(other, _)| other.dispatch != due.dispatch)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_at_once_in_any_order_meets_no_deadlock() {
    with_database(|database| async move {
        let world = Arc::new(database.world().await);
        let processes: Vec<_> = (0..3).map(|_| Arc::new(database.other_process(&world))).collect();
        let tasks = processes.iter().enumerate().flat_map(|(n, world)| {
            [
                tokio::spawn(send_often(Arc::clone(world), n)),
                tokio::spawn(work_often(Arc::clone(world), n)),
                tokio::spawn(guess_often(Arc::clone(world), n)),
                tokio::spawn(look_after_often(Arc::clone(world))),
            ]
        });
        for outcome in join_all(tasks).await {
            outcome.expect("no operation failed");
        }
        assert!(database.rows("attempts").await > 0);
        check_books(&database, &world).await;
    })
    .await;
}

/// The deadlocks that the server counted, and whether tokens and statistics add up to the rows.
async fn check_books(database: &Database, world: &World) {
    database.execute("select pg_stat_clear_snapshot()").await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(database.number(deadlocks).await, 0);
    let charged = database.number("select count(*) from dispatches where charge <> 2").await;
    assert_eq!(world.tokens_used().await, charged);
    let wrong = "select count(*) from (
            select value, sum(count) as counted from stats_hourly where dimension = 3 group by value) as stats
        full join (
            select (array['queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed', 'expired'])[status + 1]
                   as value, count(*) as there
            from dispatches where newest group by 1) as rows using (value)
        where coalesce(counted, 0) <> coalesce(there, 0)";
    assert_eq!(database.number(wrong).await, 0, "the statistics are not those of the rows");
    let pending = database.number("select count(*) from dispatches where status < 2").await;
    assert_eq!(database.rows("due").await, pending);
}

/// The targets in another order for each process and round.
fn targets(n: usize, round: u64) -> Vec<String> {
    let mut targets: Vec<_> = (0..TARGETS).map(|i| format!("{i}@example.com")).collect();
    targets.rotate_left((n * 5 + usize::try_from(round).expect("small")) % TARGETS);
    if round.is_multiple_of(2) {
        targets.reverse();
    }
    targets
}

async fn send_often(world: Arc<World>, n: usize) {
    for round in 0..ROUNDS {
        let request = |(i, target): (usize, String)| -> Accept {
            let subject = target.bytes().next().unwrap_or(0);
            let request = world.request(at(round * 40), &target).settings(|settings| settings.sends = 20);
            let request = request.limit(hourly(LimitName::Target, subject, 1000));
            if i % 3 == 0 { request.key(subject, u8::try_from(round).expect("small")).0 } else { request.0 }
        };
        let batch: Vec<_> = targets(n, round).into_iter().enumerate().map(request).collect();
        world.accept(at(round * 40), &batch).await;
    }
}

async fn work_often(world: Arc<World>, n: usize) {
    for round in 0..ROUNDS * 2 {
        let now = at(round * 20 + 6);
        let mut jobs: Vec<AttemptId> = world.relay(now, 20).await.into_iter().map(|job| job.attempt).collect();
        if n == 1 {
            jobs.reverse();
        }
        let claims: Vec<_> = jobs.iter().map(|attempt| Claim { attempt: *attempt, lease: LEASE }).collect();
        let claimed = world.store.claim(now, &claims).await.expect("claims");
        let held = jobs.iter().zip(claimed).filter(|(_, claimed)| claimed.is_ok());
        let finishes = held.enumerate().map(|(i, (job, _))| match i % 3 {
            0 => failed(now, *job, Cause::Unavailable, Next::Retry { at: now + Duration::from_secs(2) }),
            _ => taken(now, *job, &format!("m-{job}")),
        });
        world.store.finish(now, &finishes.collect::<Vec<_>>()).await.expect("finished");
        let receipts = jobs.iter().map(|job| receipt(now, &format!("m-{job}"), ReceiptStatus::Delivered));
        world.store.receive(&receipts.collect::<Vec<_>>()).await.expect("received");
    }
}

async fn guess_often(world: Arc<World>, n: usize) {
    for round in 0..ROUNDS {
        let guess = |target: String| {
            let code = if round % 4 == 3 { CODE } else { WRONG };
            let mut guess = world.guess(&target, code);
            guess.limits = vec![hourly(LimitName::Ip, 200, 10_000)];
            guess
        };
        let batch: Vec<_> = targets(n, round).into_iter().map(guess).collect();
        world.verify(at(round * 40 + 7), &batch).await;
    }
}

async fn look_after_often(world: Arc<World>) {
    for round in 0..ROUNDS {
        let now = at(round * 40);
        world.store.sweep(now).await.expect("swept");
        world.store.join_receipts(T0, 100).await.expect("joined");
        let page = common::store::records::Page { before: None, offset: 0, limit: 5 };
        for record in world.store.list_records(&world.filter(), page).await.expect("records") {
            let dispatch: DispatchId = record.dispatch.id;
            let id = dispatch.verification;
            world.store.cancel(now, world.id(), world.filter().modes, Some(id), "").await.expect("canceled");
            assert!(world.claim(now, dispatch, 99).await.is_err());
        }
    }
}
