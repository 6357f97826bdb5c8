//! The one task that acks and rejects on a channel, many at a time. It owns the channel and ends with its last delivery.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicRejectOptions};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::queue::Settlement;

type Tag = u64;

const BATCH: usize = 512;

/// What the settler is told.
pub(super) enum Note {
    /// A delivery was handed out.
    Taken(Tag),
    Settled(Tag, Settlement),
    /// Nobody wants deliveries any more.
    Stop(lapin::Consumer),
}

/// Settles until the consumer and all its deliveries are gone; closing the channel then returns what is left.
pub(super) async fn settle(channel: Channel, mut notes: UnboundedReceiver<Note>) {
    let mut unsettled = BTreeSet::new();
    let mut batch = Vec::with_capacity(BATCH);
    while notes.recv_many(&mut batch, BATCH).await > 0 {
        let (mut done, mut poison, mut stopped) = (Vec::new(), Vec::new(), None);
        for note in batch.drain(..) {
            match note {
                Note::Taken(tag) => drop(unsettled.insert(tag)),
                Note::Settled(tag, Settlement::Done) => done.push(tag),
                Note::Settled(tag, Settlement::Poison) => poison.push(tag),
                Note::Stop(deliveries) => stopped = Some(deliveries),
            }
        }
        for tag in &poison {
            unsettled.remove(tag);
        }
        // What fails here fails because the channel is gone, and the broker delivers again.
        reject(&channel, poison, false).await;
        let acks = plan(&mut unsettled, done);
        join_all(acks.into_iter().map(|(tag, multiple)| channel.basic_ack(tag, BasicAckOptions { multiple }))).await;
        if let Some(deliveries) = stopped {
            hand_back(&channel, deliveries).await;
        }
    }
}

/// The fewest acks for these tags: one covers everything below the lowest tag that is still being worked on.
fn plan(unsettled: &mut BTreeSet<Tag>, done: Vec<Tag>) -> Vec<(Tag, bool)> {
    for tag in &done {
        unsettled.remove(tag);
    }
    let lowest = unsettled.first().copied().unwrap_or(Tag::MAX);
    let (below, above): (Vec<_>, Vec<_>) = done.into_iter().partition(|tag| *tag < lowest);
    let covered = below.into_iter().max().map(|tag| (tag, true));
    covered.into_iter().chain(above.into_iter().map(|tag| (tag, false))).collect()
}

async fn reject(channel: &Channel, tags: Vec<Tag>, requeue: bool) {
    join_all(tags.into_iter().map(|tag| channel.basic_reject(tag, BasicRejectOptions { requeue }))).await;
}

/// Ends the subscription and returns the jobs that nobody has looked at, so that they need not wait for the others.
async fn hand_back(channel: &Channel, mut deliveries: lapin::Consumer) {
    if channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default()).await.is_err() {
        return;
    }
    let mut untouched = Vec::new();
    while let Some(Some(Ok(delivery))) = deliveries.next().now_or_never() {
        untouched.push(delivery.delivery_tag);
    }
    reject(channel, untouched, true).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unsettled: &[Tag], done: &[Tag], acks: &[(Tag, bool)]) {
        let mut unsettled: BTreeSet<_> = unsettled.iter().copied().collect();
        assert_eq!(plan(&mut unsettled, done.to_vec()), acks);
        assert!(done.iter().all(|tag| !unsettled.contains(tag)));
    }

    #[test]
    fn one_ack_covers_what_nothing_older_holds_up() {
        check(&[1, 2, 3], &[1, 2, 3], &[(3, true)]);
        check(&[1, 2, 3, 4], &[2, 1], &[(2, true)]);
        check(&[4, 5, 6], &[6, 4], &[(4, true), (6, false)]);
        check(&[1, 2, 3], &[2, 3], &[(2, false), (3, false)]);
        check(&[7], &[], &[]);
    }
}
