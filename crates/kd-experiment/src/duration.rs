//! Seconds for people.

/// Seconds for people: `40s`, `12m`, `3.5h`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0}s"),
        s if s < 5400.0 => format!("{:.0}m", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

/// The seconds of a duration as people write it: `90s`, `30m`, `2h`, `1.5d`, `1h30m`.
///
/// # Errors
/// A line with what was expected, also where it is not above 0.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    let wrong = || format!("expected a duration, for instance 90s, 30m or 1.5h, got `{text}`");
    let (mut seconds, mut rest) = (0., text.trim());
    while !rest.is_empty() {
        let digits = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !digits(c)).ok_or_else(wrong)?);
        let unit = after.chars().next().ok_or_else(wrong)?;
        let of_unit = match unit {
            's' => 1.,
            'm' => 60.,
            'h' => 3600.,
            'd' => 86_400.,
            _ => return Err(wrong()),
        };
        seconds += of_unit * number.parse::<f64>().map_err(|_| wrong())?;
        rest = &after[unit.len_utf8()..];
    }
    if seconds > 0. && seconds.is_finite() { Ok(seconds) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([12.4, 89.0, 600.0, 7200.0].map(duration), ["12s", "89s", "10m", "2.0h"]);
    }

    #[test]
    fn durations_are_read_in_seconds_minutes_hours_and_days() {
        for (text, seconds) in
            [("90s", 90.), ("30m", 1800.), ("1.5h", 5400.), ("1h30m", 5400.), ("2d", 172_800.)]
        {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
        for text in ["", "2", "h", "2x", "-1h", "0s", "1h30", "1..5h", "2 h", "1e3s", "∞h", "9é"]
        {
            let said = parse(text).expect_err(text);
            assert!(said.starts_with("expected a duration") && said.contains(text), "{said}");
        }
    }
}
