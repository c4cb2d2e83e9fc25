//! Seconds for people.

/// Seconds for people: `40s`, `12m`, `3.5h`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0}s"),
        s if s < 5400.0 => format!("{:.0}m", s / 60.0),
        s => format!("{:.1}h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([12.4, 89.0, 600.0, 7200.0].map(duration), ["12s", "89s", "10m", "2.0h"]);
    }
}
