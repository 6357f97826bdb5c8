//! Starting the real program on free ports with a store of its own, and talking to it as its clients do.

pub(crate) mod beside;
#[cfg(feature = "server-tests")]
pub(crate) mod broker;
pub(crate) mod burst;
pub(crate) mod client;
pub(crate) mod clock;
#[cfg(feature = "server-tests")]
pub(crate) mod distributed;
pub(crate) mod embedded;
pub(crate) mod process;
#[cfg(feature = "server-tests")]
pub(crate) mod proxy;
pub(crate) mod signature;
pub(crate) mod simulated;
pub(crate) mod stub;

use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use client::{Client, Reply};
#[cfg(feature = "server-tests")]
pub(crate) use distributed::Distributed;
pub(crate) use embedded::Embedded;

/// How long anything may take that the program does by itself: far more than it does, for a machine that is busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until there is an answer; fails, saying what for, when patience is over.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs one scenario in both ways to run: `both_ways!(name, scenario)` with `async fn scenario(client: Client)`.
#[macro_export]
macro_rules! both_ways {
    ($($scenario:ident),+ $(,)?) => {
        mod embedded {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let otpd = $crate::harness::Embedded::start().await;
                    super::$scenario(otpd.client()).await;
                }
            )+
        }
        #[cfg(feature = "server-tests")]
        mod distributed {
            $(
                #[tokio::test]
                async fn $scenario() {
                    let otpd = $crate::harness::Distributed::start(1, 1).await;
                    super::$scenario(otpd.client()).await;
                }
            )+
        }
    };
}
