//! How what is loaded is spread: over time in waves, over the rest by weight.

use rand::RngExt;

pub(super) const HOUR_MS: i64 = 3_600_000;
pub(super) const DAY_MS: i64 = 24 * HOUR_MS;

/// Verifications that open in an hour: when it begins, how much of it counts, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hour {
    pub(super) start: i64,
    pub(super) length: i64,
    pub(super) number: u64,
}

/// What people do in an hour of UTC: little at night, most in the evening, less at the weekend.
fn busy(start: i64) -> f64 {
    const BY_HOUR: [u32; 24] =
        [30, 22, 18, 15, 16, 22, 38, 58, 76, 86, 90, 92, 94, 92, 90, 90, 93, 97, 100, 100, 95, 82, 62, 44];
    // The epoch was a Thursday.
    const BY_DAY: [f64; 7] = [1.0, 1.05, 0.72, 0.68, 0.96, 1.0, 1.0];
    let of_day = usize::try_from(start.rem_euclid(DAY_MS) / HOUR_MS).unwrap_or(0);
    let of_week = usize::try_from(start.div_euclid(DAY_MS).rem_euclid(7)).unwrap_or(0);
    f64::from(BY_HOUR[of_day]) * BY_DAY[of_week]
}

/// So many verifications over whole days up to an instant, by hour, oldest first.
pub(super) fn by_hour(number: u64, days: i64, until: i64) -> Vec<Hour> {
    let first = (until.div_euclid(DAY_MS) - days + 1) * DAY_MS;
    let starts: Vec<i64> = (0..).map(|hour| first + hour * HOUR_MS).take_while(|start| *start < until).collect();
    let length = |start: i64| (until - start).min(HOUR_MS);
    let weights: Vec<f64> = starts.iter().map(|start| busy(*start) * share(length(*start), HOUR_MS)).collect();
    let all: f64 = weights.iter().sum();
    let (mut sum, mut given) = (0.0, 0);
    let mut hours = Vec::with_capacity(starts.len());
    for (start, weight) in starts.iter().zip(weights) {
        sum += weight;
        let so_far = portion(number, sum / all);
        hours.push(Hour { start: *start, length: length(*start), number: so_far - given });
        given = so_far;
    }
    hours
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of an hour")]
fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers of rows are far below 2^53"
)]
fn portion(number: u64, share: f64) -> u64 {
    (number as f64 * share).round() as u64
}

/// Values, each as often as its weight says.
#[derive(Debug, Clone)]
pub(super) struct Weighted<T> {
    /// With the sum of the weights up to and with each.
    values: Vec<(f64, T)>,
}

impl<T: Copy> Weighted<T> {
    pub(super) fn new(values: impl IntoIterator<Item = (T, f64)>) -> Self {
        let mut sum = 0.0;
        let summed = values.into_iter().map(|(value, weight)| {
            sum += weight;
            (sum, value)
        });
        Self { values: summed.collect() }
    }

    /// The first is twice as frequent as the second, three times as the third, and so on (Zipf).
    pub(super) fn zipf(values: impl IntoIterator<Item = T>) -> Self {
        Self::new(values.into_iter().zip(1_u32..).map(|(value, rank)| (value, 1.0 / f64::from(rank))))
    }

    pub(super) fn pick(&self, rng: &mut impl RngExt) -> T {
        let all = self.values.last().map_or(0.0, |(sum, _)| *sum);
        let at = rng.random::<f64>() * all;
        let place = self.values.partition_point(|(sum, _)| *sum <= at);
        self.values[place.min(self.values.len() - 1)].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_spread_and_each_hour_has_its_share() {
        let until = 20_000 * DAY_MS + 12 * HOUR_MS + HOUR_MS / 2;
        let hours = by_hour(100_000, 7, until);
        assert_eq!(hours.len(), 6 * 24 + 13);
        assert_eq!(hours.iter().map(|hour| hour.number).sum::<u64>(), 100_000);
        assert!(hours.iter().all(|hour| hour.number > 0));
        assert_eq!(hours.last().map(|hour| (hour.start + hour.length, hour.length)), Some((until, HOUR_MS / 2)));
        let of_day = |hour: i64| hours.iter().filter(move |at| at.start.rem_euclid(DAY_MS) == hour * HOUR_MS);
        assert!(of_day(19).map(|hour| hour.number).max() > of_day(3).map(|hour| hour.number).max());
    }

    #[test]
    fn few_rows_are_spread_too() {
        let hours = by_hour(3, 90, 20_000 * DAY_MS + HOUR_MS);
        assert_eq!(hours.iter().map(|hour| hour.number).sum::<u64>(), 3);
    }

    #[test]
    fn values_come_as_often_as_they_weigh() {
        let zipf = Weighted::zipf(0..4_usize);
        let mut seen = [0_u32; 4];
        let mut rng = rand::rng();
        for _ in 0..10_000 {
            seen[zipf.pick(&mut rng)] += 1;
        }
        assert!(seen.is_sorted_by(|more, less| more > less) && seen[3] > 0, "{seen:?}");
    }
}
