//! Times as the API writes them.

use jiff::Timestamp;

/// UTC to the microsecond, without a zone: `2026-11-22T06:34:26.024540`.
pub(super) fn api_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_six_digits_and_no_zone() {
        for (time, text) in [
            ("2026-11-22T06:34:26.02454Z", "2026-11-22T06:34:26.024540"),
            ("2026-11-22T06:34:26Z", "2026-11-22T06:34:26.000000"),
        ] {
            assert_eq!(api_time(time.parse().unwrap()), text);
        }
    }
}
