//! Delivery through stub vendors and the sandbox's magic targets: causes, failover, retries, receipts.
