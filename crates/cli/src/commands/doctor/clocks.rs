//! Clocks of other machines against this one's.

use gateway_core::Timestamp;

use super::finding::{Area, Finding};

/// Clocks that differ by less agree: answers take a moment, and HTTP knows whole seconds only.
const AGREE_MS: i64 = 2_000;
/// From here on it matters: tokens, signatures and times that people see.
const TOO_FAR_MS: i64 = 5_000;

/// How far another machine's clock is ahead of this one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skew {
    /// Whose it is.
    pub(super) of: String,
    /// Negative where it is behind.
    pub(super) ahead_ms: i64,
}

impl Skew {
    /// From the `Date` of an answer that was asked for at `before` and had come at `after`.
    pub(super) fn of_date(of: &str, date: &str, before: Timestamp, after: Timestamp) -> Option<Self> {
        let halfway = before.as_millis() + after.millis_since(before) / 2;
        // The date leaves out what has passed of its second.
        let ahead_ms = Timestamp::parse_http(date)?.as_millis() + 500 - halfway;
        Some(Self { of: of.to_owned(), ahead_ms })
    }
}

/// What the clocks tell.
pub(super) fn findings(skews: &[Skew]) -> Vec<Finding> {
    if skews.is_empty() {
        let seen = "not compared: nothing that was reached tells its time";
        return vec![Finding::note(Area::Clock, seen)];
    }
    let (near, far): (Vec<&Skew>, Vec<&Skew>) = skews.iter().partition(|skew| skew.ahead_ms.abs() < TOO_FAR_MS);
    let mut findings: Vec<Finding> = far.into_iter().map(too_far).collect();
    if !near.is_empty() {
        let names: Vec<&str> = near.iter().map(|skew| skew.of.as_str()).collect();
        let within = if near.iter().all(|skew| skew.ahead_ms.abs() < AGREE_MS) { AGREE_MS } else { TOO_FAR_MS };
        let seen = format!("within {} s of this machine's: {}", within / 1000, names.join(", "));
        findings.insert(0, Finding::ok(Area::Clock, seen));
    }
    findings
}

fn too_far(skew: &Skew) -> Finding {
    let way = if skew.ahead_ms > 0 { "ahead of" } else { "behind" };
    let seen = format!("the clock of {} is {} s {way} this machine's", skew.of, skew.ahead_ms.abs() / 1000);
    let remedy = "set both clocks by the network (`timedatectl set-ntp true`): tokens, signatures of webhooks and of \
                  requests to S3 are good for minutes only";
    Finding::warning(Area::Clock, seen, remedy)
}

/// This machine's time.
pub(super) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Report;
    use super::*;

    #[test]
    fn a_date_is_taken_for_the_middle_of_its_second_and_of_the_wait() {
        let noon = 784_111_777_000;
        let skew = |before: i64, after: i64| {
            let (before, after) = (Timestamp::from_millis(before), Timestamp::from_millis(after));
            Skew::of_date("x", "Sun, 06 Nov 1994 08:49:37 GMT", before, after).map(|skew| skew.ahead_ms)
        };
        assert_eq!(skew(noon + 400, noon + 600), Some(0));
        assert_eq!(skew(noon - 60_000, noon - 60_000), Some(60_500));
        assert_eq!(Skew::of_date("x", "soon", Timestamp::from_millis(0), Timestamp::from_millis(0)), None);
    }

    #[test]
    fn clocks_that_differ_are_named_with_how_far_and_which_way() {
        let skew = |of: &str, ahead_ms| Skew { of: of.to_owned(), ahead_ms };
        let report = Report::new(findings(&[skew("Redis", 90_000), skew("Postgres", -3), skew("S3", -61_000)]), false);
        let text = report.text(false);
        for part in ["within 2 s of this machine's: Postgres", "Redis is 90 s ahead of", "S3 is 61 s behind"] {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        assert!(Report::new(findings(&[]), true).end().is_ok());
    }
}
