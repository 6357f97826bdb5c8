//! Several processes on the same rows: exact answers, and no deadlock whatever the order of a batch.

use std::sync::Arc;
use std::time::Duration;

use common::otp::accept::Accept;
use common::otp::chain::Planned;
use common::otp::channel::Channel;
use common::otp::claim::{Claim, Claimed, Unclaimed};
use common::otp::finish::{Finished, Next};
use common::otp::fire::{Fire, TargetLimit};
use common::otp::guess::Verdict;
use common::otp::ids::{AttemptId, DispatchId};
use common::otp::limits::Window;
use common::otp::provider_error::Cause;
use common::otp::rows::LimitName;
use common::otp::status::{DispatchStatus, ReceiptStatus};
use futures_util::future::join_all;

use crate::database::{Database, with_database};
use crate::world::{CODE, LEASE, T0, WRONG, World, at, failed, hourly, only, receipt, taken};

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
async fn of_wrong_guesses_in_two_processes_no_more_are_looked_at_than_a_limit_lets_through() {
    with_database(|database| async move {
        let one = database.world().await;
        let two = database.other_process(&one);
        let targets: Vec<_> = (0..16).map(|n| format!("{n}@example.com")).collect();
        for round in 0..20 {
            let now = at(u64::from(round) * 400);
            for target in &targets {
                one.send(now, target).await;
            }
            let guess = |target: &String| {
                let mut guess = one.guess(target, WRONG);
                guess.limits = vec![hourly(LimitName::Ip, round, 10)];
                guess
            };
            let (here, there): (Vec<_>, Vec<_>) =
                (targets[..8].iter().map(guess).collect(), targets[8..].iter().map(guess).collect());
            let (here, there) = tokio::join!(
                one.verify(at(u64::from(round) * 400 + 1), &here),
                two.verify(at(u64::from(round) * 400 + 1), &there)
            );
            let compared = here.iter().chain(&there).filter(|verdict| matches!(verdict, Verdict::Wrong { .. })).count();
            assert_eq!(compared, 10, "{here:?} {there:?}");
        }
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
pub(crate) async fn check_books(database: &Database, world: &World) {
    database.execute("select pg_stat_clear_snapshot()").await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(database.number(deadlocks).await, 0);
    let charged = database.number("select count(*) from dispatches where charge < 2").await;
    assert_eq!(world.tokens_used().await, charged);
    let wrong = "select count(*) from (
            select value, sum(count) as counted from stats_hourly where dimension = 3 group by value) as stats
        full join (
            select (array['queued', 'sending', 'sent', 'delivered', 'undelivered', 'failed', 'expired', 'waiting'])
                   [status + 1] as value, count(*) as there
            from dispatches where newest group by 1) as rows using (value)
        where coalesce(counted, 0) <> coalesce(there, 0)";
    assert_eq!(database.number(wrong).await, 0, "the statistics are not those of the rows");
    let pending = database.number("select count(*) from dispatches where status in (0, 1, 7)").await;
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
            let mut request = request.limit(hourly(LimitName::Target, subject, 1000));
            if i % 2 == 0 {
                let after = Duration::from_secs(7);
                request.0.fallbacks = [Channel::Sms, Channel::Whatsapp].map(|channel| planned(channel, after)).into();
            }
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
        let waits = |claimed: &Result<Claimed, Unclaimed>| matches!(claimed, Err(Unclaimed::Waiting));
        let waiting = jobs.iter().zip(&claimed).filter(|(_, claimed)| waits(claimed)).map(|(job, _)| *job);
        let waiting: Vec<_> = waiting.collect();
        let fired = world.store.fire(now, &waiting.iter().map(fire).collect::<Vec<_>>()).await.expect("fired");
        let held = jobs.iter().zip(claimed).chain(waiting.iter().zip(fired)).filter(|(_, claimed)| claimed.is_ok());
        let give_up = || Next::GiveUp { status: DispatchStatus::Failed, reason: "no".to_owned() };
        let finishes = held.enumerate().map(|(i, (job, _))| match i % 4 {
            0 => failed(now, *job, Cause::Unavailable, Next::Retry { at: now + Duration::from_secs(2) }),
            1 => failed(now, *job, Cause::Rejected, give_up()),
            _ => taken(now, *job, &format!("m-{job}")),
        });
        let finished = world.store.finish(now, &finishes.collect::<Vec<_>>()).await.expect("finished");
        let next = finished.iter().filter_map(|finished| match finished {
            Finished::Current { fallback, .. } => fallback.map(|dispatch| AttemptId { dispatch, n: 1 }),
            _ => None,
        });
        let next: Vec<_> = next.map(|attempt| fire(&attempt)).collect();
        world.store.fire(now, &next).await.expect("fired");
        let receipts = jobs.iter().map(|job| receipt(now, &format!("m-{job}"), ReceiptStatus::Delivered));
        world.store.receive(now, &receipts.collect::<Vec<_>>()).await.expect("received");
    }
}

fn planned(channel: Channel, after: Duration) -> Planned {
    Planned { channel, after, target: None }
}

/// To a target that sends are counted against, too.
fn fire(attempt: &AttemptId) -> Fire {
    let subject = u8::try_from(attempt.dispatch.verification.as_uuid().as_u128() % 10).expect("small");
    let hour = Window::new(1000, Duration::from_secs(3600));
    let limit = TargetLimit { key: only([b'0' + subject; 16]), windows: [None, Some(hour), None] };
    Fire { dispatch: attempt.dispatch, lease: LEASE, limit: Some(limit) }
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
        world.store.join_receipts(now, T0, 100).await.expect("joined");
        let page = common::store::records::Page { before: None, offset: 0, limit: 5 };
        for record in world.store.list_records(&world.filter(), page).await.expect("records") {
            let dispatch: DispatchId = record.dispatch.id;
            let id = dispatch.verification;
            world.store.cancel(now, world.id(), world.filter().modes, Some(id), "").await.expect("canceled");
            assert!(world.claim(now, dispatch, 99).await.is_err());
        }
    }
}
