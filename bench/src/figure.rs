//! One figure: what was measured, beside what, and whether that reaches its target.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// `S1` to `S12`, or one that goes with it, such as `S1.echo`.
    pub(crate) name: String,
    /// What it is, in a few words.
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    pub(crate) baseline: Option<f64>,
    /// What the baseline is.
    pub(crate) beside: Option<String>,
    /// Ours to the baseline's.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: Target,
    pub(crate) verdict: Verdict,
    /// What must be known to read it.
    pub(crate) note: Option<String>,
    /// A miss says nothing.
    #[serde(skip)]
    is_busy: bool,
}

/// What must be reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "value")]
pub(crate) enum Target {
    /// The ratio must be at least this.
    RatioAtLeast(f64),
    /// The ratio must be at most this.
    RatioAtMost(f64),
    /// The ratio must be this, within a tenth.
    RatioAbout(f64),
    /// Our own figure must be at most this.
    AtMost(f64),
    /// It is reported beside another one.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pass,
    Miss,
    /// A miss on a machine that was too busy to tell.
    Void,
    /// There is no target.
    Reported,
}

impl Figure {
    /// A figure of ours alone, without a target.
    pub(crate) fn new(name: &str, what: &str, unit: &str, ours: f64) -> Self {
        Self {
            name: name.to_owned(),
            what: what.to_owned(),
            unit: unit.to_owned(),
            ours,
            baseline: None,
            beside: None,
            ratio: None,
            target: Target::None,
            verdict: Verdict::Reported,
            note: None,
            is_busy: false,
        }
    }

    /// Beside a baseline that was measured in turn with it.
    pub(crate) fn beside(mut self, name: &str, baseline: f64) -> Self {
        self.beside = Some(name.to_owned());
        self.baseline = Some(baseline);
        self.ratio = (baseline > 0.0).then(|| self.ours / baseline);
        self.judged()
    }

    pub(crate) fn target(mut self, target: Target) -> Self {
        self.target = target;
        self.judged()
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// A miss while the machine was too busy says nothing.
    pub(crate) fn void_if(mut self, is_busy: bool) -> Self {
        self.is_busy |= is_busy;
        self.judged()
    }

    fn judged(mut self) -> Self {
        let ratio = self.ratio.unwrap_or(f64::NAN);
        let is_reached = match self.target {
            Target::RatioAtLeast(least) => ratio >= least,
            Target::RatioAtMost(most) => ratio <= most,
            Target::RatioAbout(aim) => (ratio / aim - 1.0).abs() <= 0.1,
            Target::AtMost(most) => self.ours <= most,
            Target::None => {
                self.verdict = Verdict::Reported;
                return self;
            }
        };
        self.verdict = match (is_reached, self.is_busy) {
            (true, _) => Verdict::Pass,
            (false, true) => Verdict::Void,
            (false, false) => Verdict::Miss,
        };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_target() {
        let figure =
            |ours, target| Figure::new("S1", "accept", "1/s", ours).beside("naive", 10.0).target(target).verdict;
        for (ours, target, verdict) in [
            (40.0, Target::RatioAtLeast(4.0), Verdict::Pass),
            (39.0, Target::RatioAtLeast(4.0), Verdict::Miss),
            (2.5, Target::RatioAtMost(0.25), Verdict::Pass),
            (2.6, Target::RatioAtMost(0.25), Verdict::Miss),
            (18.5, Target::RatioAbout(2.0), Verdict::Pass),
            (22.5, Target::RatioAbout(2.0), Verdict::Miss),
            (5.0, Target::AtMost(5.0), Verdict::Pass),
            (5.1, Target::AtMost(5.0), Verdict::Miss),
            (5.1, Target::None, Verdict::Reported),
        ] {
            assert_eq!(figure(ours, target), verdict, "{ours} {target:?}");
        }
    }

    #[test]
    fn a_ratio_to_nothing_reaches_no_target() {
        let figure = Figure::new("S1", "accept", "1/s", 1.0).beside("naive", 0.0).target(Target::RatioAtLeast(4.0));
        assert_eq!(figure.verdict, Verdict::Miss);
    }

    #[test]
    fn only_a_miss_can_be_void() {
        let figure = |ours| Figure::new("S6", "p99", "ms", ours).target(Target::AtMost(5.0)).void_if(true).verdict;
        assert_eq!((figure(4.0), figure(6.0)), (Verdict::Pass, Verdict::Void));
        let later =
            Figure::new("S9", "memory", "MB", 6.0).target(Target::AtMost(5.0)).void_if(true).beside("naive", 1.0);
        assert_eq!(later.verdict, Verdict::Void, "whatever comes after it");
    }
}
