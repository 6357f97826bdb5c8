//! What needs foreign programs: a real SMTP server, among others. Run by `scripts/test --clients`.
