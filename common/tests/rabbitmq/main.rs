//! The queue against a real broker: `OTPD_TEST_RABBITMQ`, or the one on this machine. Each test has its own prefix.

mod broker;
mod proxy;

use common::queue::rabbitmq::RabbitQueue;
use common::queue::{Queue, Settlement};
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, attempt, eventually, job, next, with_broker};
use crate::proxy::Proxy;

#[tokio::test]
async fn a_published_job_is_consumed_once_and_acked() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let mut consumer = queue.consume(10).await;
        queue.publish(job(7));
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.job, Ok(job(7)));
        delivery.settle(Settlement::Done);
        drop(consumer);
        eventually("the queue is empty and nobody consumes", async || broker.depth().await == (0, 0)).await;
    })
    .await;
}

#[tokio::test]
async fn jobs_are_persistent_and_named_in_a_quorum_queue() {
    with_broker(async |broker: &Broker| {
        broker.ready_queue().await.publish(job(3));
        eventually("the job is there", async || broker.depth().await.0 == 1).await;
        let first = broker.get().await;
        assert_eq!(first.properties.delivery_mode(), &Some(2));
        assert_eq!(first.properties.message_id(), &Some(job(3).attempt.to_string().into()));
        eventually("the job is back", async || broker.depth().await.0 == 1).await;
        // Only quorum queues count deliveries.
        let headers = broker.get().await.delivery.properties.headers().clone().expect("headers");
        assert!(headers.contains_key("x-delivery-count"), "{headers:?}");
    })
    .await;
}

#[tokio::test]
async fn poison_and_what_cannot_be_decoded_become_dead_letters() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let mut consumer = queue.consume(10).await;
        queue.publish(job(1));
        next(&mut consumer).await.settle(Settlement::Poison);
        broker.publish_raw(b"hello").await;
        let foreign = next(&mut consumer).await;
        assert!(foreign.job.is_err());
        foreign.settle(Settlement::Poison);
        eventually("both are dead letters", async || broker.dead_letters().await == 2).await;
        assert_eq!(broker.depth().await.0, 0);
    })
    .await;
}

#[tokio::test]
async fn what_a_dropped_consumer_had_is_delivered_again() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let mut consumer = queue.consume(3).await;
        (1..=3).for_each(|n| queue.publish(job(n)));
        let held = next(&mut consumer).await;
        let dropped = next(&mut consumer).await;
        drop(consumer);
        // The third was not handed out and need not wait for the others.
        eventually("what nobody looked at is back", async || broker.depth().await.0 == 1).await;
        held.settle(Settlement::Done);
        drop(dropped);
        eventually("what was dropped is back", async || broker.depth().await == (2, 0)).await;
        let mut consumer = queue.consume(2).await;
        let mut again = [attempt(&next(&mut consumer).await), attempt(&next(&mut consumer).await)];
        again.sort_unstable();
        assert_eq!(again, [2, 3]);
    })
    .await;
}

#[tokio::test]
async fn two_consumers_share_the_jobs() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let (mut one, mut two) = (queue.consume(1).await, queue.consume(1).await);
        (1..=2).for_each(|n| queue.publish(job(n)));
        let (first, second) = (next(&mut one).await, next(&mut two).await);
        let mut seen = [attempt(&first), attempt(&second)];
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn a_thousand_jobs_settled_out_of_order_are_all_acked() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let mut consumer = queue.consume(100).await;
        (1..=1000).for_each(|n| queue.publish(job(n)));
        queue.drain().await;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let mut held = Vec::new();
            for _ in 0..50 {
                held.push(next(&mut consumer).await);
            }
            seen.extend(held.iter().map(attempt));
            held.into_iter().rev().for_each(|delivery| delivery.settle(Settlement::Done));
        }
        drop(consumer);
        assert_eq!(seen.len(), 1000);
        eventually("all are acked", async || broker.depth().await == (0, 0)).await;
    })
    .await;
}

#[tokio::test]
async fn consuming_and_publishing_go_on_after_the_connection_was_cut() {
    with_broker(async |broker: &Broker| {
        let proxy = Proxy::open(&broker.address());
        let queue = broker.queue_at(&proxy.address);
        eventually("health tells", async || queue.health().await.is_ok()).await;
        let mut consumer = queue.consume(10).await;
        queue.publish(job(1));
        let unsettled = next(&mut consumer).await;
        proxy.cut();
        eventually("health tells", async || queue.health().await.is_err()).await;
        queue.publish(job(8));
        queue.drain().await;
        assert_eq!(queue.room().await, 0);
        proxy.reopen();
        assert_eq!(attempt(&next(&mut consumer).await), 1, "what was not settled comes again");
        // The tag of the old channel is worth nothing on the new one.
        unsettled.settle(Settlement::Done);
        eventually("health recovers", async || queue.health().await.is_ok()).await;
        queue.publish(job(2));
        let delivery = next(&mut consumer).await;
        assert_eq!(attempt(&delivery), 2, "what was published meanwhile was dropped");
        delivery.settle(Settlement::Done);
        eventually("the first is still unsettled, the second gone", async || broker.depth().await == (0, 1)).await;
        drop(consumer);
        eventually("the first is back", async || broker.depth().await == (1, 0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_is_away_at_start_is_waited_for() {
    with_broker(async |broker: &Broker| {
        let proxy = Proxy::closed(&broker.address());
        let queue = broker.queue_at(&proxy.address);
        let refused = format!("RabbitMQ at {}: connection refused", proxy.address);
        eventually("health tells why", async || queue.health().await == Err(refused.clone())).await;
        assert_eq!(queue.room().await, 0);
        (1..=20_000).for_each(|_| queue.publish(job(1)));
        queue.drain().await;
        proxy.reopen();
        let mut consumer = queue.consume(10).await;
        eventually("health recovers", async || queue.health().await.is_ok()).await;
        queue.publish(job(2));
        assert_eq!(attempt(&next(&mut consumer).await), 2);
    })
    .await;
}

#[tokio::test]
async fn a_wrong_login_is_told_without_the_password() {
    with_broker(async |broker: &Broker| {
        let url = format!("amqp://nobody:s3cret@{}/%2f", broker.address());
        let queue = broker.queue_with(&url, &TaskTracker::new());
        eventually("health tells why", async || {
            let why = queue.health().await.expect_err("no login");
            assert!(!why.contains("s3cret"), "{why}");
            why.contains("ACCESS_REFUSED")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_told_in_words_and_mended_by_deleting_it() {
    with_broker(async |broker: &Broker| {
        broker.declare_classic(broker.topology.queue()).await.expect("a classic queue");
        let queue = broker.queue();
        eventually("health tells", async || match queue.health().await {
            Err(why) => why.contains("other arguments ('x-") && why.contains("OTPD_QUEUE__PREFIX"),
            Ok(()) => false,
        })
        .await;
        broker.delete_queues().await;
        eventually("health recovers", async || queue.health().await.is_ok()).await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_deleted_under_way_is_declared_anew() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        let mut consumer = queue.consume(10).await;
        broker.delete_queues().await;
        // The first of these is returned by the exchange, which tells that the queue is gone.
        eventually("jobs go through again", async || {
            queue.publish(job(5));
            queue.drain().await;
            queue.health().await.is_ok()
        })
        .await;
        queue.publish(job(5));
        assert_eq!(attempt(&next(&mut consumer).await), 5);
    })
    .await;
}

#[tokio::test]
async fn room_follows_from_consumers_and_from_what_waits() {
    with_broker(async |broker: &Broker| {
        let queue = broker.ready_queue().await;
        eventually("one prefetch without consumers", async || queue.room().await == 50).await;
        (1..=5).for_each(|n| queue.publish(job(n)));
        eventually("less what waits", async || queue.room().await == 45).await;
        let _one = queue.consume(2).await;
        let _two = queue.consume(2).await;
        eventually("twice the prefetch of both, less the one that waits", async || queue.room().await == 199).await;
    })
    .await;
}

#[tokio::test]
async fn stopping_confirms_what_was_accepted_and_ends_consumers_and_tasks() {
    with_broker(async |broker: &Broker| {
        let tasks = TaskTracker::new();
        let queue = broker.queue_with(&broker.url, &tasks);
        eventually("the queue is ready", async || queue.health().await.is_ok()).await;
        let mut consumer = queue.consume(10).await;
        let mut held = Vec::new();
        (1..=20).for_each(|n| queue.publish(job(n)));
        for _ in 0..10 {
            held.push(next(&mut consumer).await);
        }
        broker.stop.cancel();
        assert!(consumer.next().await.is_none());
        queue.drain().await;
        held.into_iter().for_each(|delivery| delivery.settle(Settlement::Done));
        tasks.close();
        tasks.wait().await;
        queue.publish(job(1));
        queue.drain().await;
        eventually("what was held is acked, the rest is back", async || broker.depth().await == (10, 0)).await;
        assert!(queue.health().await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_never_answers_leaves_no_threads_behind() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let settings = broker::settings(&format!("amqp://u:p@{address}/"), "unused");
    let (tasks, stop) = (TaskTracker::new(), tokio_util::sync::CancellationToken::new());
    let queue = RabbitQueue::start(settings, &tasks, stop.clone());
    let (mut peer, _) = silent.accept().await.expect("a connection");
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    // The header has come, then the end: the attempt was cut, not left to wait for ever.
    let mut header = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut peer, &mut header);
    tokio::time::timeout(broker::DEADLINE, read).await.expect("in time").expect("an end");
    assert!(header.is_empty() || header.starts_with(b"AMQP"));
    assert!(queue.health().await.is_err());
}
