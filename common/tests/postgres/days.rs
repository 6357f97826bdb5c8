//! Days whose statistics are summed up: reading them is as reading their hours, also for what moves later.

use std::time::Duration;

use common::otp::changes::Dimension;
use common::otp::channel::Mode;
use common::otp::status::ReceiptStatus;
use common::otp::time::Timestamp;
use common::store::records::Count;
use futures_util::future::join_all;

use crate::database::with_database;
use crate::world::{ANN, T0, World, receipt};

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

async fn stats(world: &World, from: Option<Timestamp>, until: Option<Timestamp>) -> Vec<Count> {
    world.store.stats(world.id(), Mode::Live.visible(), &Dimension::ALL, from, until).await.expect("stats")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_that_are_summed_up_count_as_their_hours_do() {
    with_database(|database| async move {
        let world = database.world().await;
        for day in 0..6 {
            for hour in [0, 5, 23] {
                let now = Timestamp::from_ms(T0.day() * 86_400_000) + day * DAY + hour * HOUR;
                world.send(now, &format!("{day}.{hour}@example.com")).await;
            }
        }
        let bounds: Vec<Option<Timestamp>> = (0..7)
            .flat_map(|day| [0, 4, 23].map(|hour| T0.hour() - 2 * DAY + day * DAY + hour * HOUR))
            .map(|at| Some(at.hour()))
            .chain([None])
            .collect();
        let ranges: Vec<_> = bounds.iter().flat_map(|from| bounds.iter().map(move |until| (*from, *until))).collect();
        let before = join_all(ranges.iter().map(|(from, until)| stats(&world, *from, *until))).await;
        world.store.rotate(T0 + 5 * DAY).await.expect("rotated");
        assert_eq!(database.number("select until_day - first_day from stats_summed").await, 4);
        let after = join_all(ranges.iter().map(|(from, until)| stats(&world, *from, *until))).await;
        assert_eq!(before, after);
        let live =
            world.store.stats(world.id(), Mode::Sandbox.visible(), &Dimension::ALL, None, None).await.expect("stats");
        assert_eq!(live, []);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_in_a_day_that_is_summed_up_is_counted_there_too() {
    with_database(|database| async move {
        let world = database.world().await;
        world.sent(T0, ANN, "m1").await;
        world.store.rotate(T0 + 3 * DAY).await.expect("rotated");
        assert_eq!(world.counted(Dimension::Status, "sent").await, 1);
        world.receive(receipt(T0 + 3 * DAY, "m1", ReceiptStatus::Delivered)).await;
        for _ in 0..2 {
            assert_eq!(world.counted(Dimension::Status, "sent").await, 0);
            assert_eq!(world.counted(Dimension::Status, "delivered").await, 1);
            assert_eq!(world.counted(Dimension::Total, "").await, 1);
            world.store.rotate(T0 + 4 * DAY).await.expect("rotated again");
        }
        assert_eq!(
            database.number("select sum(count)::bigint from stats_daily").await,
            database.number("select sum(count)::bigint from stats_hourly").await
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_that_moves_while_a_day_is_summed_up() {
    with_database(|database| async move {
        let world = database.world().await;
        let others: Vec<_> = (0..3).map(|_| database.other_process(&world)).collect();
        for n in 0..45 {
            world.sent(T0 + n / 9 * DAY, &format!("{n}@example.com"), &format!("m{n}")).await;
        }
        let rotate = async {
            for day in 3..8 {
                world.store.rotate(T0 + day * DAY).await.expect("rotated");
            }
        };
        let tell = async |first: u32, world: &World| {
            for n in (first..45).step_by(3) {
                world.receive(receipt(T0 + 5 * DAY, &format!("m{n}"), ReceiptStatus::Delivered)).await;
            }
        };
        tokio::join!(rotate, join_all((0..).zip(&others).map(|(first, world)| tell(first, world))));
        world.store.rotate(T0 + 9 * DAY).await.expect("rotated");
        assert_eq!(world.counted(Dimension::Total, "").await, 45);
        assert_eq!(world.counted(Dimension::Status, "delivered").await, 45);
        assert_eq!(world.counted(Dimension::Status, "sent").await, 0);
        assert_eq!(database.number("select until_day - first_day from stats_summed").await, 8);
    })
    .await;
}
