//! Rate limits as GCRA (the generic cell rate algorithm of ATM Forum TM 4.1): one stored instant a window.
//!
//! "n per period" lets n through at once and then one each period/n. The stored instant is the *theoretical arrival
//! time*: when it has passed, the window is as good as new.

use std::time::Duration;

use super::time::Timestamp;

/// `burst` events at once, and as many in each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub burst: u32,
    pub period: Duration,
}

/// Where a window stands: what the `RateLimit-*` headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub limit: u32,
    pub remaining: u32,
    /// Until the window is full again.
    pub reset: Duration,
}

/// A refusal by a window: what it stands at and when to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    pub standing: Standing,
    pub retry_after: Duration,
}

impl Window {
    #[must_use]
    pub const fn new(burst: u32, period: Duration) -> Self {
        Self { burst, period }
    }

    /// The time one event uses up, in milliseconds: at least 1 so that no limit is free.
    #[must_use]
    pub fn step_ms(&self) -> i64 {
        let period = i64::try_from(self.period.as_millis()).unwrap_or(i64::MAX);
        (period / i64::from(self.burst.max(1))).max(1)
    }

    /// The stored instant after `events` more events.
    #[must_use]
    pub fn after(&self, stored: Timestamp, now: Timestamp, events: u32) -> Timestamp {
        Timestamp::from_ms(stored.max(now).as_ms().saturating_add(self.step_ms().saturating_mul(i64::from(events))))
    }

    /// Whether this stored instant is of no more events than it lets through.
    #[must_use]
    pub fn holds(&self, stored: Timestamp, now: Timestamp) -> bool {
        stored <= self.after(now, now, self.burst)
    }

    /// Takes one event: the new stored instant, or why not.
    ///
    /// # Errors
    /// When the window is used up.
    pub fn take(&self, stored: Timestamp, now: Timestamp) -> Result<Timestamp, Exhausted> {
        let next = self.after(stored, now, 1);
        if self.holds(next, now) {
            return Ok(next);
        }
        let over = next.as_ms() - self.after(now, now, self.burst).as_ms();
        let retry_after = Duration::from_millis(u64::try_from(over).unwrap_or(1));
        Err(Exhausted { standing: self.standing(stored, now), retry_after })
    }

    #[must_use]
    pub fn standing(&self, stored: Timestamp, now: Timestamp) -> Standing {
        let used = stored.since(now);
        let step = u128::from(self.step_ms().unsigned_abs());
        let taken = u32::try_from(used.as_millis().div_ceil(step)).unwrap_or(u32::MAX);
        Standing { limit: self.burst, remaining: self.burst.saturating_sub(taken), reset: used }
    }
}

/// The standing that leaves the least room; the one that takes longest to refill where several leave the same.
#[must_use]
pub fn tightest(standings: impl IntoIterator<Item = Standing>) -> Option<Standing> {
    standings.into_iter().min_by_key(|standing| (standing.remaining, std::cmp::Reverse(standing.reset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T0: Timestamp = Timestamp::from_ms(1_000_000);

    #[test]
    fn a_cooldown_is_one_event_a_period() {
        let cooldown = Window::new(1, Duration::from_secs(30));
        let stored = cooldown.take(Timestamp::default(), T0).expect("first");
        let refused = cooldown.take(stored, T0 + Duration::from_secs(10)).expect_err("second");
        assert_eq!(refused.retry_after, Duration::from_secs(20));
        assert_eq!(refused.standing.remaining, 0);
        assert!(cooldown.take(stored, T0 + Duration::from_secs(30)).is_ok());
    }

    #[test]
    fn five_an_hour_lets_five_through_and_then_one_each_twelve_minutes() {
        let window = Window::new(5, Duration::from_secs(3600));
        let mut stored = Timestamp::default();
        for left in (0..5).rev() {
            stored = window.take(stored, T0).expect("within the burst");
            assert_eq!(window.standing(stored, T0).remaining, left);
        }
        assert_eq!(window.take(stored, T0).expect_err("sixth").retry_after, Duration::from_secs(720));
    }

    proptest! {
        #[test]
        fn never_more_than_twice_the_burst_in_one_period(burst in 1_u32..20, gaps in proptest::collection::vec(0_u64..5_000, 1..200)) {
            let window = Window::new(burst, Duration::from_secs(10));
            let (mut now, mut stored, mut let_through) = (T0, Timestamp::default(), Vec::new());
            for gap in gaps {
                now = now + Duration::from_millis(gap);
                if let Ok(next) = window.take(stored, now) {
                    stored = next;
                    let_through.push(now);
                }
            }
            for (i, start) in let_through.iter().enumerate() {
                let inside = let_through[i..].iter().filter(|at| at.since(*start) < window.period).count();
                prop_assert!(inside <= 2 * burst as usize, "{inside} in one period of burst {burst}");
            }
        }

        #[test]
        fn whoever_waits_the_retry_after_gets_through(burst in 1_u32..20, events in 1_u32..40) {
            let window = Window::new(burst, Duration::from_secs(60));
            let stored = window.after(Timestamp::default(), T0, events);
            if let Err(refused) = window.take(stored, T0) {
                prop_assert!(window.take(stored, T0 + refused.retry_after).is_ok());
            }
        }
    }
}
