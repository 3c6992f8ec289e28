//! The floor: probabilities below it count as equal.

use super::{Policy, Problem};
use crate::policy::Statistic;
use toml::Spanned;

/// The floor of a policy file, 0 = none.
pub(super) fn check(
    floor: Option<Spanned<f64>>,
    tau: f64,
    statistic: Statistic,
) -> Result<f64, Problem> {
    let Some(floor) = floor else { return Ok(0.0) };
    let (start, floor) = (floor.span().start, floor.into_inner());
    if floor == 0.0 {
        return Ok(0.0);
    }
    if !(floor > 0.0 && floor <= tau) {
        let problem = format!(
            "floor = {floor} is not in the range 0 to tau = {tau}; write for example floor = {}",
            tau / 1000.0
        );
        return Err((start, problem));
    }
    let needs = match statistic {
        Statistic::MaxLogPZ => return Ok(floor),
        Statistic::MeanLogProb => "mean_log_prob is a mean over every token of every window",
        Statistic::VerbatimRun => {
            "verbatim_run compares runs of first choices, however unlikely the rest is"
        }
        Statistic::MeanRank => "mean_rank ranks every window, unlikely ones included",
    };
    Err((
        start,
        format!(
            "a floor works only with statistic = \"max_log_p_z\": {needs}; remove floor, or change the statistic"
        ),
    ))
}

impl Policy {
    /// `ln floor`; `-inf` without a floor.
    pub fn ln_floor(&self) -> f64 {
        self.floor.ln()
    }

    /// A value of `ln p_z` under plain sampling, as it is compared: all values below the floor
    /// become `-inf`. The same function applies to items and controls, so that conformal p-values
    /// stay valid.
    pub fn censored(&self, log_p_z: f64) -> f64 {
        if log_p_z < self.ln_floor() {
            f64::NEG_INFINITY
        } else {
            log_p_z
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{Policy, SCHEMA};

    #[test]
    fn floors_are_at_most_tau_and_need_max_log_p_z() {
        let read = |text: &str| Policy::parse("p.toml", &format!("schema = {SCHEMA:?}\n{text}"));
        for (text, floor) in [
            ("", 0.0),
            ("floor = 0", 0.0),
            ("floor = 0.000001", 1e-6),
            ("floor = 0.001", 0.001),
        ] {
            assert_eq!(read(text).unwrap().floor, floor);
        }
        assert_eq!(
            read("statistic = \"mean_rank\"\nfloor = 0.0")
                .unwrap()
                .floor,
            0.0
        );
        for (text, expected) in [
            (
                "floor = 0.002",
                "p.toml:2: floor = 0.002 is not in the range 0 to tau = 0.001; write for example floor = 0.000001",
            ),
            ("floor = -1", "p.toml:2: floor = -1 is not"),
            ("floor = nan", "p.toml:2: floor = NaN is not"),
            (
                "statistic = \"mean_rank\"\nfloor = 0.0001",
                "p.toml:3: a floor works only with statistic = \"max_log_p_z\": mean_rank",
            ),
            (
                "statistic = \"mean_log_prob\"\nfloor = 0.0001",
                "p.toml:3: a floor works only with",
            ),
            (
                "statistic = \"verbatim_run\"\nfloor = 0.0001",
                "p.toml:3: a floor works only with",
            ),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn values_below_the_floor_are_equal() {
        let none = Policy::default();
        let quick = Policy::open("quick").unwrap();
        assert_eq!(
            (none.censored(-300.0), quick.censored(-300.0)),
            (-300.0, f64::NEG_INFINITY)
        );
        assert_eq!(quick.censored(1e-6f64.ln()), 1e-6f64.ln());
        assert_eq!(quick.censored(-14.0), f64::NEG_INFINITY);
    }
}
