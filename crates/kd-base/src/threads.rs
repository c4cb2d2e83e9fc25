//! Numbers of threads, as users write them.

/// The most threads that a program may be told to start. No machine has use for more, and starting
/// them would take the machine away from everybody.
pub const MAX_THREADS: usize = 1024;

/// Reads a number of threads: 1 to [`MAX_THREADS`]. The error says what was expected and what was
/// got, without a name for it.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=MAX_THREADS).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {MAX_THREADS}, got `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_that_no_machine_has_use_for_are_refused() {
        assert_eq!((parse_threads("1"), parse_threads("1024")), (Ok(1), Ok(1024)));
        for text in ["0", "1025", "100000", "18446744073709551616", "-1", "two", ""] {
            let error = parse_threads(text).unwrap_err();
            assert_eq!(error, format!("expected a whole number from 1 to 1024, got `{text}`"));
        }
    }
}
