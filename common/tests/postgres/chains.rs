//! Chains in several processes: whoever fires, reports, sends again and guesses at once, nobody meets a deadlock and the
//! books are right.

use std::time::Duration;

use common::otp::accept::Accept;
use common::otp::chain::Planned;
use common::otp::channel::Channel;
use common::otp::finish::Next;
use common::otp::fire::{Fire, TargetLimit};
use common::otp::ids::DispatchId;
use common::otp::limits::Window;
use common::otp::provider_error::Cause;
use common::otp::rows::LimitName;
use common::otp::status::{DispatchStatus, ReceiptStatus};
use common::otp::time::Timestamp;
use futures_util::future::join_all;

use crate::concurrency::check_books;
use crate::database::with_database;
use crate::world::{CODE, LEASE, World, at, attempt, failed, hourly, only, receipt, taken};

const CHAINS: usize = 24;
const ROUNDS: usize = 12;
const LIMIT: u8 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_in_several_processes_meet_no_deadlock() {
    with_database(|database| async move {
        let one = database.world().await;
        let others: Vec<_> = (0..5).map(|_| database.other_process(&one)).collect();
        for round in 0..ROUNDS {
            let sent = sent(&one, round).await;
            let fires = || sent.iter().map(|first| fire(*first)).collect::<Vec<_>>();
            let (forth, back) = (fires(), fires().into_iter().rev().collect::<Vec<_>>());
            let now = then(round, 40);
            let (fired, again, reported, told, ..) = tokio::join!(
                others[0].store.fire(now, &forth),
                others[1].store.fire(now, &back),
                report(&others[2], &sent[..8], round),
                tell(&others[3], &sent[8..16], round),
                send_again(&others[4], &sent[12..20], round),
                guess(&one, round),
                join_all(others.iter().map(|world| world.relay(now, 50))),
            );
            let (fired, again) = (fired.expect("fired"), again.expect("fired"));
            // The last four are nobody else's.
            let once = |n: usize| usize::from(fired[n].is_ok()) + usize::from(again[CHAINS - 1 - n].is_ok());
            assert!((CHAINS - 4..CHAINS).all(|n| once(n) == 1), "{fired:?} {again:?}");
            assert!((0..CHAINS).all(|n| once(n) <= 1), "{fired:?} {again:?}");
            assert_eq!((reported, told), (8, 8));
        }
        check_books(&database, &one).await;
    })
    .await;
}

/// So many seconds into a round.
fn then(round: usize, seconds: u64) -> Timestamp {
    at(u64::try_from(round).expect("small") * 100 + seconds)
}

fn target(round: usize, n: usize) -> String {
    format!("{round}.{n}@example.com")
}

fn request(world: &World, round: usize, n: usize, seconds: u64) -> Accept {
    let planned = |channel| Planned { channel, after: Duration::from_secs(10), target: None };
    let mut request =
        world.request(then(round, seconds), &target(round, n)).limit(hourly(LimitName::Target, LIMIT, 10_000)).0;
    request.fallbacks = [Channel::Whatsapp, Channel::Sms].map(planned).into();
    request
}

/// Chains whose first dispatch a worker holds.
async fn sent(world: &World, round: usize) -> Vec<DispatchId> {
    let requests: Vec<_> = (0..CHAINS).map(|n| request(world, round, n, 0)).collect();
    let accepted =
        world.accept(then(round, 0), &requests).await.into_iter().map(|answer| answer.expect("accepted").dispatch);
    let sent: Vec<_> = accepted.collect();
    for (n, first) in sent.iter().enumerate() {
        let held = world.claimed(then(round, 30), *first, 1).await;
        // What is told of later has been handed over.
        if n >= 8 {
            world.finish(then(round, 30), taken(then(round, 30), held, &format!("{round}.{n}"))).await;
        }
    }
    sent
}

/// Fires the first fallback of a chain, to a target that all are counted against.
fn fire(first: DispatchId) -> Fire {
    let hour = Window::new(10_000, Duration::from_secs(3600));
    let limit = TargetLimit { key: only([LIMIT; 16]), windows: [None, Some(hour), None] };
    Fire { dispatch: DispatchId { n: 2, ..first }, lease: LEASE, limit: Some(limit) }
}

async fn report(world: &World, sent: &[DispatchId], round: usize) -> usize {
    let finishes = sent.iter().rev().enumerate().map(|(n, first)| {
        let next = Next::GiveUp { status: DispatchStatus::Failed, reason: "no".to_owned() };
        match n % 2 {
            0 => failed(then(round, 40), attempt(*first, 1), Cause::Rejected, next),
            _ => taken(then(round, 40), attempt(*first, 1), &format!("{round}.report.{n}")),
        }
    });
    world.store.finish(then(round, 40), &finishes.collect::<Vec<_>>()).await.expect("finished").len()
}

async fn tell(world: &World, sent: &[DispatchId], round: usize) -> usize {
    let told = (0..sent.len()).rev().map(|n| {
        let status = if n % 2 == 0 { ReceiptStatus::Delivered } else { ReceiptStatus::Undelivered };
        receipt(then(round, 40), &format!("{round}.{}", n + 8), status)
    });
    world.store.receive(then(round, 40), &told.collect::<Vec<_>>()).await.expect("received").len()
}

async fn send_again(world: &World, sent: &[DispatchId], round: usize) {
    let requests: Vec<_> = (0..sent.len()).rev().map(|n| request(world, round, n + 12, 40)).collect();
    world.accept(then(round, 40), &requests).await;
}

async fn guess(world: &World, round: usize) {
    let guesses: Vec<_> = (16..20).rev().map(|n| world.guess(&target(round, n), CODE)).collect();
    world.verify(then(round, 40), &guesses).await;
}
