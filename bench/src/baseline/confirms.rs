//! Messages that RabbitMQ takes into a quorum queue when they are published together and confirmed together.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::json;

use super::{Limit, queue};
use crate::failure::Outcome;
use crate::load::count;
use crate::report::print;

/// Messages on their way at once.
const WINDOW: usize = 512;

pub(super) async fn run(limit: &Limit) -> Outcome {
    let connection = Connection::connect(&limit.queue, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    queue::declare(&channel, &limit.name).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (exchange, message) = (queue::exchange(&limit.name), [7_u8; 200]);
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(limit.seconds);
    let mut published = 0_u64;
    while Instant::now() < end {
        // All publishes of a window are polled by one task, which is what keeps tags and frames in one order.
        let window = (0..WINDOW).map(|_| {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let (exchange, properties) = (exchange.clone().into(), queue::properties());
            channel.basic_publish(exchange, queue::KEY.into(), options, &message, properties)
        });
        let confirms = try_join_all(window).await?;
        published += u64::try_from(try_join_all(confirms).await?.len())?;
    }
    let per_second = count(published) / begun.elapsed().as_secs_f64();
    print(&json!({ "per_second": per_second.to_string() }).to_string());
    super::serve::ended().await
}
