//! What every store must do, as one set of scenarios: on SQLite always, on PostgreSQL with the feature `server-tests`.
//!
//! A scenario gets a new store and passes every time as a value, so none waits for a clock.

mod accept;
mod cancel;
mod carried;
mod chain;
mod chain_ends;
mod chain_moved_on;
mod claim;
mod finish;
mod guess;
mod guess_lookup;
mod idempotency;
mod origins;
mod projects;
mod receipts;
mod records;
mod relay;
mod retry;
mod sessions;
mod sqlite_file;
mod stats;
mod stores;
mod subjects;
mod sweep;
mod tenancy;
mod upkeep;
mod world;

/// Makes a test of each named scenario for each store.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident,)+) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::stores::on_sqlite(super::$name).await;
                }
            )+
        }

        #[cfg(feature = "server-tests")]
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::stores::on_postgres(super::$name).await;
                }
            )+
        }
    };
}
