//! The status of a dispatch and how it may move.

use std::fmt;

/// `queued → sending → sent → delivered | undelivered | failed | expired`; a fallback begins as `waiting`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DispatchStatus {
    /// A fallback whose turn has not come: most often it never does.
    Waiting,
    /// Waiting for a worker, or for its next try.
    Queued,
    /// A worker holds it.
    Sending,
    /// A provider accepted the message.
    Sent,
    /// A receipt says that it arrived.
    Delivered,
    /// A provider accepted it and later said that it did not arrive.
    Undelivered,
    /// No provider accepted it and none will be asked again.
    Failed,
    /// Its code died before a provider accepted it.
    Expired,
}

impl DispatchStatus {
    pub const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::Delivered,
        Self::Undelivered,
        Self::Failed,
        Self::Expired,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Expired => "expired",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::Queued => 0,
            Self::Sending => 1,
            Self::Sent => 2,
            Self::Delivered => 3,
            Self::Undelivered => 4,
            Self::Failed => 5,
            Self::Expired => 6,
            Self::Waiting => 7,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    /// Still has work: a worker may yet call a provider for it.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Queued | Self::Sending)
    }

    const fn rank(self) -> u8 {
        match self {
            Self::Waiting | Self::Queued | Self::Sending => 0,
            Self::Failed | Self::Expired => 1,
            Self::Undelivered => 2,
            Self::Sent => 3,
            Self::Delivered => 4,
        }
    }

    /// The better of two: what is known of a dispatch is the best that is known of its attempts.
    #[must_use]
    pub const fn best(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl fmt::Display for DispatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of one call to a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptStatus {
    Failed,
    Undelivered,
    Sent,
    Delivered,
}

impl AttemptStatus {
    const ALL: [Self; 4] = [Self::Failed, Self::Undelivered, Self::Sent, Self::Delivered];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.dispatch_status().as_str()
    }

    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Failed => 0,
            Self::Undelivered => 1,
            Self::Sent => 2,
            Self::Delivered => 3,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }

    #[must_use]
    pub const fn dispatch_status(self) -> DispatchStatus {
        match self {
            Self::Failed => DispatchStatus::Failed,
            Self::Undelivered => DispatchStatus::Undelivered,
            Self::Sent => DispatchStatus::Sent,
            Self::Delivered => DispatchStatus::Delivered,
        }
    }

    /// This attempt after a receipt: `delivered` is final, `undelivered` gives way to it alone, a late `sent` lowers
    /// nothing.
    #[must_use]
    pub const fn after_receipt(self, receipt: ReceiptStatus) -> Self {
        match (self, receipt) {
            (Self::Delivered, _) | (_, ReceiptStatus::Delivered) => Self::Delivered,
            (_, ReceiptStatus::Undelivered) | (Self::Undelivered, ReceiptStatus::Sent) => Self::Undelivered,
            (_, ReceiptStatus::Sent) => Self::Sent,
        }
    }
}

/// What a provider says after it accepted a message. Each proves that it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiptStatus {
    Sent,
    Delivered,
    Undelivered,
}

impl ReceiptStatus {
    const ALL: [Self; 3] = [Self::Sent, Self::Delivered, Self::Undelivered];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
        }
    }

    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Sent => 0,
            Self::Delivered => 1,
            Self::Undelivered => 2,
        }
    }

    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stored_numbers_and_names_read_back() {
        for status in DispatchStatus::ALL {
            assert_eq!(DispatchStatus::from_code(status.code()), Some(status));
            assert_eq!(DispatchStatus::parse(status.as_str()), Some(status));
        }
    }

    #[track_caller]
    fn check(before: AttemptStatus, receipt: ReceiptStatus, after: AttemptStatus) {
        assert_eq!(before.after_receipt(receipt), after);
    }

    #[test]
    fn receipts_move_an_attempt_forward_only() {
        use AttemptStatus as A;
        use ReceiptStatus as R;
        check(A::Sent, R::Sent, A::Sent);
        check(A::Sent, R::Delivered, A::Delivered);
        check(A::Sent, R::Undelivered, A::Undelivered);
        check(A::Undelivered, R::Sent, A::Undelivered);
        check(A::Undelivered, R::Delivered, A::Delivered);
        check(A::Delivered, R::Undelivered, A::Delivered);
        check(A::Delivered, R::Sent, A::Delivered);
        check(A::Failed, R::Sent, A::Sent);
        check(A::Failed, R::Delivered, A::Delivered);
    }

    fn receipts() -> impl Strategy<Value = Vec<ReceiptStatus>> {
        proptest::collection::vec(proptest::sample::select(ReceiptStatus::ALL.to_vec()), 0..8)
    }

    proptest! {
        #[test]
        fn the_order_of_receipts_does_not_matter(receipts in receipts()) {
            let apply = |order: &mut dyn Iterator<Item = ReceiptStatus>| {
                order.fold(AttemptStatus::Sent, AttemptStatus::after_receipt)
            };
            prop_assert_eq!(apply(&mut receipts.iter().copied()), apply(&mut receipts.iter().rev().copied()));
        }

        #[test]
        fn delivered_stays_delivered(receipts in receipts()) {
            let end = receipts.into_iter().fold(AttemptStatus::Delivered, AttemptStatus::after_receipt);
            prop_assert_eq!(end, AttemptStatus::Delivered);
        }
    }
}
