//! Times as Python prints them, which is how they stand in Cinder's files.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2026-03-01 10:17:07+00:00`; six digits of microseconds before the offset when they are not
/// zero.
#[must_use]
pub fn python_time(time: Timestamp) -> String {
    let civil = TimeZone::UTC.to_datetime(time);
    let micros = civil.subsec_nanosecond() / 1000;
    let seconds = civil.strftime("%Y-%m-%d %H:%M:%S");
    if micros == 0 {
        format!("{seconds}+00:00")
    } else {
        format!("{seconds}.{micros:06}+00:00")
    }
}

/// Reads what [`python_time`] prints, and any time of ISO 8601's family; without an offset it is
/// UTC.
#[must_use]
pub fn parse_python_time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let civil: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_as_python_prints_them_and_are_read_back() {
        for (time, text) in [
            ("2026-03-01T10:17:07Z", "2026-03-01 10:17:07+00:00"),
            (
                "2026-03-01T10:17:07.000123Z",
                "2026-03-01 10:17:07.000123+00:00",
            ),
            (
                "2026-03-01T10:17:07.120000999Z",
                "2026-03-01 10:17:07.120000+00:00",
            ),
            ("0999-12-31T23:59:59Z", "0999-12-31 23:59:59+00:00"),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(python_time(time), text);
            let micros = parse_python_time(text).unwrap().as_microsecond();
            assert_eq!(micros, time.as_microsecond());
        }
        assert_eq!(
            parse_python_time("2026-03-01 10:17:07"),
            parse_python_time("2026-03-01 12:17:07+02:00"),
        );
        assert_eq!(parse_python_time("yesterday"), None);
    }
}
