//! Time as ComfyUI shows it: milliseconds since 1970 and the dates of HTTP headers.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, split into what calendars show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) weekday: usize,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
}

/// Milliseconds since 1970, moved by `skew_ms`.
pub(crate) fn timestamp(skew_ms: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX).saturating_add(skew_ms)
}

impl Civil {
    pub(crate) fn from(time: SystemTime) -> Self {
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let days = seconds / 86_400;
        // Counting from 1 March of the year 0 makes leap days the last day of a year (Howard Hinnant's algorithm).
        let shifted = i64::try_from(days).unwrap_or(0) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: u32::try_from(month).unwrap_or(1),
            day: u32::try_from(day_of_year - (153 * shifted_month + 2) / 5 + 1).unwrap_or(1),
            weekday: usize::try_from((days + 4) % 7).unwrap_or(0),
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }

    /// Such as `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) fn http_date(self) -> String {
        let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"].get(self.weekday).copied().unwrap_or("Sun");
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = months.get(self.month as usize - 1).copied().unwrap_or("Jan");
        let Self { year, day, hour, minute, second, .. } = self;
        format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_of_headers_are_right_around_a_leap_day() {
        let date = |seconds| Civil::from(UNIX_EPOCH + Duration::from_secs(seconds)).http_date();
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 GMT");
    }
}
