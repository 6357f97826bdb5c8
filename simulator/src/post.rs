//! Receipts on their way to otpd: which ones, when, and again when they were not taken.

use std::sync::Arc;
use std::time::Duration;

use common::otp::time::Timestamp;
use common::retry::RetryPolicy;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::behaviour::Fate;
use crate::state::{Count, Played, Shared};
use crate::vendors::{Message, News, Post};

/// When the first receipt comes, and how much later those of a `late` message do.
const SOON: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_secs(5);
/// How often a receipt is sent at most. Vendors go on for hours; nobody rehearses that long.
const MOST_TRIES: usize = 6;

/// Tells otpd, on the side, what becomes of a message.
pub(crate) fn tell(shared: &Arc<Shared>, vendor: &'static str, message: Message, fate: Fate) {
    let (all, stop) = (Arc::clone(shared), shared.parts.stop.clone());
    shared.parts.tasks.spawn(async move {
        stop.run_until_cancelled(all_of(&all, vendor, &message, fate)).await;
    });
}

async fn all_of(shared: &Shared, vendor: &str, message: &Message, fate: Fate) {
    let Ok(played) = shared.find(vendor) else { return };
    let news: &[News] = match fate {
        Fate::Delivered | Fate::Late => &[News::Sent, News::Delivered],
        Fate::Failed => &[News::Sent, News::Failed],
        Fate::Lost => &[News::Sent],
        Fate::Untold => &[],
    };
    sleep(SOON).await;
    for news in news {
        if fate == Fate::Late && *news == News::Delivered {
            sleep(LATE).await;
        }
        if let Some(post) = played.vendor.receipt(message, *news, now(shared)) {
            deliver(shared, played, post).await;
        }
    }
}

fn now(shared: &Shared) -> Timestamp {
    shared.parts.clock.now()
}

/// Sends one receipt until it is taken.
async fn deliver(shared: &Shared, played: &Played, post: Post) {
    let name = played.vendor.name();
    let secret = played.vendor.receipt_secret().map(|secret| format!("/{secret}")).unwrap_or_default();
    let base = shared.parts.receipts_to.trim_end_matches('/');
    let url = post.callback.unwrap_or_else(|| format!("{base}/receipts/{name}{secret}"));
    let mut delays = RetryPolicy::RECONNECT.delays();
    for _ in 0..MOST_TRIES {
        let request = shared.http.post(&url).body(post.body.clone());
        let request = post.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                debug!(provider.name = name, "a receipt was taken");
                return played.count(Count::ReceiptsTaken);
            }
            Ok(response) => warn!(provider.name = name, status = response.status().as_u16(), "a receipt was not taken"),
            // The address may hold a secret.
            Err(error) => warn!(provider.name = name, error = %error.without_url(), "a receipt did not arrive"),
        }
        sleep(delays.next_delay()).await;
    }
    played.count(Count::ReceiptsRefused);
}
