//! The naive worker: a task for each message, which claims, calls the provider, writes the status back and acknowledges.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use serde_json::json;
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::secrets::Secrets;
use super::{Naive, queue, store};
use crate::failure::Outcome;

/// As many as our worker holds at once.
const PREFETCH: u16 = 256;

struct Worker {
    pool: PgPool,
    secrets: Secrets,
    http: reqwest::Client,
    provider: String,
}

pub(super) async fn run(naive: &Naive) -> Outcome {
    tokio::select! {
        ended = super::serve::ended() => ended,
        consumed = consume(naive) => consumed,
    }
}

async fn consume(naive: &Naive) -> Outcome {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
    let worker = Arc::new(Worker {
        pool: store::pool(&naive.store).await?,
        secrets: Secrets::new()?,
        http,
        provider: naive.provider.clone(),
    });
    let connection = Connection::connect(&naive.queue, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    queue::declare(&channel, &naive.prefix).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let (queue, options) = (queue::queue(&naive.prefix).into(), BasicConsumeOptions::default());
    let mut deliveries = channel.basic_consume(queue, "naive".into(), options, FieldTable::default()).await?;
    let mut tasks = JoinSet::new();
    while let Some(delivery) = deliveries.next().await {
        while tasks.try_join_next().is_some() {}
        let (worker, delivery) = (Arc::clone(&worker), delivery?);
        tasks.spawn(async move { worker.settle(delivery).await });
    }
    Err("the consumer has ended".into())
}

/// What the provider answers.
#[derive(Debug, Deserialize)]
struct Taken {
    message_id: String,
}

impl Worker {
    async fn settle(&self, delivery: Delivery) -> Outcome {
        if self.deliver(&delivery.data).await.is_ok() {
            delivery.acker.ack(BasicAckOptions::default()).await?;
        } else {
            delivery.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
        }
        Ok(())
    }

    async fn deliver(&self, job: &[u8]) -> Outcome {
        let id = Uuid::from_slice(job)?;
        let Some(claimed) = store::claim(&self.pool, id).await? else { return Ok(()) };
        let (target, code) = (self.secrets.open(&claimed.target)?, self.secrets.open(&claimed.code)?);
        let message_id = self.post(id, &claimed.project, &target, &code).await;
        store::finish(&self.pool, id, message_id.ok().as_deref()).await
    }

    async fn post(&self, id: Uuid, project: &str, target: &str, code: &str) -> Outcome<String> {
        let id = id.to_string();
        let body = serde_json::to_vec(&json!({
            "id": id,
            "type": "otp.send",
            "project": project,
            "channel": "sms",
            "target": target,
            "code": code,
            "text": format!("{code} is your code. It is valid for 10 minutes. Do not share it."),
        }))?;
        let timestamp = i64::try_from(UNIX_EPOCH.elapsed()?.as_secs())?;
        let request = self.http.post(&self.provider).header("content-type", "application/json");
        let request = request.header("webhook-signature", self.secrets.sign(&id, timestamp, &body));
        let request = request.header("webhook-timestamp", timestamp).header("webhook-id", &id);
        let taken: Taken =
            serde_json::from_slice(&request.body(body).send().await?.error_for_status()?.bytes().await?)?;
        Ok(taken.message_id)
    }
}
