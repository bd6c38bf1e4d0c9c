//! The machine's clock, in seconds since 1970, and what programs that go by it write.

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with times that other programs wrote"
)]
pub(super) fn now() -> f64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Reads `2026-11-27T13:14:15.123456Z`, as logs have it, or the same without `Z`, as the API writes UTC.
pub(super) fn read(text: &str) -> Option<f64> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i32>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.split(':').map(str::parse::<f64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    // Days of the civil calendar, with years that begin in March so that the leap day is the last one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 719_469;
    Some(f64::from(days) * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_microsecond_with_its_zone_or_without() {
        assert_eq!(read("1970-01-01T00:00:00.000000Z"), Some(0.0));
        assert_eq!(read("2000-02-29T12:00:00Z"), Some(951_825_600.0));
        let quarter = Some(1_795_785_255.25);
        assert_eq!(read("2026-11-27T13:14:15.250000Z"), quarter);
        assert_eq!(read("2026-11-27T13:14:15.250000"), quarter);
        assert_eq!(read("2026-11-27T13:14:15+01:00"), None);
        assert_eq!(read("yesterday"), None);
    }
}
