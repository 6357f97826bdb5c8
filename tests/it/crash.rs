//! Processes that die or are stopped in the middle of their work: nothing that was accepted is lost or sent twice.

use std::time::{Duration, Instant};

use crate::harness::Embedded;
use crate::harness::burst::{Burst, assert_handed_over_once, timelines};
use crate::harness::stub::{Answer, Stub};

const SLOW: Answer = Answer::after(Duration::from_millis(100));

#[tokio::test]
async fn embedded_goes_on_after_kill_9_with_all_it_accepted() {
    let stub = Stub::start(SLOW);
    let mut otpd = Embedded::start_with(&stub.settings()).await;
    let burst = Burst::start(&otpd.client().live(), "kill", 300);
    burst.reached(100).await;
    let early = stub.reached(20).await.swap_remove(0);
    otpd.process.kill_9();
    let answers = burst.ended().await;
    assert!(!answers.unanswered.is_empty(), "the burst was over before");

    otpd.restart();
    let client = otpd.client().live();
    let timelines = timelines(&client, &answers.sent).await;
    assert_handed_over_once(&stub, &timelines);
    assert_eq!(client.verify(&early.target, &early.code).await.expect(200).body["valid"], true);
}

#[tokio::test]
async fn embedded_ends_what_it_has_begun_when_told_to_stop() {
    let stub = Stub::start(SLOW);
    let mut otpd = Embedded::start_with(&stub.settings()).await;
    let burst = Burst::start(&otpd.client().live(), "term", 300);
    burst.reached(100).await;
    assert_eq!(otpd.process.terminate().await.code(), Some(0));
    let answers = burst.ended().await;
    assert!(!answers.unanswered.is_empty(), "the burst was over before");

    otpd.restart();
    let timelines = timelines(&otpd.client().live(), &answers.sent).await;
    assert_handed_over_once(&stub, &timelines);
    let doubled = stub.arrivals().len() - answers.sent.len();
    assert_eq!(doubled, 0, "what has begun is ended, so nothing is in doubt");
}

#[tokio::test]
async fn a_second_signal_ends_the_program_at_once() {
    let stub = Stub::start(Answer::NEVER);
    let mut otpd = Embedded::start_with(&stub.settings()).await;
    otpd.client().live().send_to("ann@example.com").await;
    stub.reached(1).await;
    otpd.process.signal("TERM");
    otpd.process.says("stopping").await;
    assert!(otpd.process.is_running(), "an attempt is under way");
    let before = Instant::now();
    assert_eq!(otpd.process.terminate().await.code(), Some(130));
    assert!(before.elapsed() < Duration::from_secs(8), "the attempt's ten seconds were waited for");
}

#[cfg(feature = "server-tests")]
mod distributed {
    use super::*;
    use crate::harness::Distributed;
    use crate::harness::burst::send;
    use crate::harness::eventually;
    use crate::harness::proxy::{Line, Proxy};

    #[tokio::test]
    async fn others_go_on_when_an_api_and_a_worker_are_killed() {
        let stub = Stub::start(SLOW);
        let mut otpd = Distributed::start_with(2, 2, &stub.settings()).await;
        let burst = Burst::start(&otpd.client().live(), "kill", 500);
        burst.reached(150).await;
        stub.reached(50).await;
        otpd.kill_worker();
        otpd.kill_api();
        let answers = burst.ended().await;
        assert!(!answers.unanswered.is_empty(), "the burst was over before");

        let client = otpd.client().live();
        assert_handed_over_once(&stub, &timelines(&client, &answers.sent).await);
        for key in &answers.unanswered {
            send(&client, key).await.expect("accepted by the other one");
        }
        let total = client.get("/api/v1/otp/stats").await.expect(200).body["total"].clone();
        assert_eq!(total, 500, "what was committed without a reply is not accepted again");
    }

    #[tokio::test]
    async fn a_retry_gets_the_reply_that_a_dead_api_did_not_give() {
        let mut otpd = Distributed::start(2, 0).await;
        let mut client = otpd.client();
        let proxy = Proxy::to(client.urls[0].trim_start_matches("http://").to_owned());
        proxy.set(Line::Mute);
        client.urls = vec![proxy.url()];
        let mut other = otpd.client();
        other.urls.remove(0);
        let killed_when_committed = async {
            let committed = eventually("the row", || async {
                let records = other.get("/api/v1/otp/records").await.expect(200).body;
                Some(records["records"][0]["id"].as_str()?.to_owned())
            });
            let committed = committed.await;
            otpd.kill_api();
            proxy.set(Line::Cut);
            committed
        };
        let (reply, committed) = tokio::join!(send(&client, "once"), killed_when_committed);
        assert!(reply.is_none());
        let again = send(&other, "once").await.expect("202");
        assert_eq!(again.id, committed);
    }

    #[tokio::test]
    async fn everyone_stops_within_the_grace_and_nothing_is_lost() {
        let stub = Stub::start(SLOW);
        let mut otpd = Distributed::start_with(1, 2, &stub.settings()).await;
        let burst = Burst::start(&otpd.client().live(), "term", 300);
        burst.reached(100).await;
        otpd.apis[0].signal("TERM");
        otpd.workers[0].signal("TERM");
        assert_eq!(otpd.apis[0].ended().await.code(), Some(0));
        assert_eq!(otpd.workers[0].ended().await.code(), Some(0));
        let answers = burst.ended().await;
        assert!(!answers.unanswered.is_empty(), "the burst was over before");

        otpd.add_api().await;
        let mut client = otpd.client().live();
        client.urls.remove(0);
        assert_handed_over_once(&stub, &timelines(&client, &answers.sent).await);
        assert_eq!(stub.arrivals().len(), answers.sent.len(), "what has begun is ended, so nothing is in doubt");
    }
}
