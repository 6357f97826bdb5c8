//! When a message is worth sending: its useful life and the offsets at which it is tried again.

use std::time::Duration;

use super::time::Timestamp;

/// Offsets of the passes from the first attempt; each pass asks every provider of the route once.
pub const PASSES: [Duration; 5] =
    [Duration::ZERO, Duration::from_secs(2), Duration::from_secs(8), Duration::from_secs(20), Duration::from_secs(45)];

/// How long an accepted dispatch waits for its published job before the relay publishes it again.
pub const FIRST_RELAY: Duration = Duration::from_secs(5);
const LONGEST_RELAY: Duration = Duration::from_secs(60);

/// A code that dies sooner than this after it is sent is of no use to anyone: a quarter of its life, at most 20 s.
#[must_use]
pub fn useful_remainder(life: Duration) -> Duration {
    (life / 4).min(Duration::from_secs(20))
}

/// The last instant at which a code of this life, dying at `expires`, may be handed to a provider.
#[must_use]
pub fn deadline(expires: Timestamp, life: Duration) -> Timestamp {
    expires - useful_remainder(life)
}

/// A send that finds less than this left of an open verification starts a new one: half its life, at most 60 s.
#[must_use]
pub fn too_short_to_resend(life: Duration) -> Duration {
    (life / 2).min(Duration::from_secs(60))
}

/// When pass `pass` (from 0) begins, off by up to a fifth either way. After the last of [`PASSES`] they go on at its
/// distance: what ends them is the deadline. `dice` is in 0..=1.
#[must_use]
pub fn pass_at(first_attempt: Timestamp, pass: i16, dice: f64) -> Timestamp {
    let pass = usize::try_from(pass).unwrap_or(0);
    let last = PASSES.len() - 1;
    let more = u32::try_from(pass.saturating_sub(last)).unwrap_or(u32::MAX);
    let offset = PASSES[pass.min(last)].saturating_add(PASSES[last].saturating_mul(more));
    first_attempt + offset.mul_f64(jitter(dice))
}

/// How long the relay waits after its `published`th publish of a job: twice as long each time, to a minute.
#[must_use]
pub fn relay_delay(published: i16, dice: f64) -> Duration {
    let doubled = FIRST_RELAY * 2_u32.saturating_pow(u32::try_from(published.clamp(0, 8)).unwrap_or(0));
    doubled.min(LONGEST_RELAY).mul_f64(jitter(dice))
}

fn jitter(dice: f64) -> f64 {
    0.8 + 0.4 * dice.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_useful_remainder_is_a_quarter_up_to_20_s() {
        assert_eq!(useful_remainder(Duration::from_secs(300)), Duration::from_secs(20));
        assert_eq!(useful_remainder(Duration::from_secs(10)), Duration::from_millis(2500));
    }

    #[test]
    fn passes_follow_the_schedule_and_go_on_at_its_last_distance() {
        let at = [0, 1, 2, 3, 4, 5, 6].map(|pass| pass_at(Timestamp::from_ms(0), pass, 0.5).as_ms());
        assert_eq!(at, [0, 2000, 8000, 20_000, 45_000, 90_000, 135_000]);
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_fifth(pass in 0_i16..5, dice in 0.0..=1.0_f64) {
            let exact = PASSES[pass as usize].as_millis() as f64;
            let at = pass_at(Timestamp::from_ms(0), pass, dice).as_ms() as f64;
            prop_assert!((at - exact).abs() <= exact * 0.2 + 1.0);
        }

        #[test]
        fn the_relay_waits_between_4_and_72_seconds(published in 0_i16..1000, dice in 0.0..=1.0_f64) {
            let delay = relay_delay(published, dice).as_secs_f64();
            prop_assert!((4.0..=72.0).contains(&delay));
        }
    }
}
