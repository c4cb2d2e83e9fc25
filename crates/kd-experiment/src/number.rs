//! How numbers are written, so that a table derived twice has the same bytes.

/// `x` rounded to 6 significant digits, in the shortest decimal form that reads back as the same
/// number. Without an exponent.
pub fn six_digits(x: f64) -> String {
    significant(x, 6)
}

/// `x` rounded to `digits` significant digits (at least 1), in the shortest decimal form. Zero has
/// no sign.
pub fn significant(x: f64, digits: usize) -> String {
    let rounded = format!("{x:.*e}", digits.saturating_sub(1)).parse::<f64>().unwrap_or(x);
    // Adding zero turns -0 into 0.
    (rounded + 0.0).to_string()
}

/// `x` rounded to one decimal, without trailing zero: seconds.
pub fn tenths(x: f64) -> String {
    ((x * 10.0).round() / 10.0 + 0.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_six_significant_digits_in_their_shortest_form() {
        assert_eq!(six_digits(146.0), "146");
        assert_eq!(six_digits(1.0 / 3.0), "0.333333");
        assert_eq!(six_digits(123_456_789.0), "123457000");
        assert_eq!(six_digits(0.1 + 0.2), "0.3");
        assert_eq!(six_digits(-0.0), "0");
        assert_eq!(six_digits(1.5e-7), "0.00000015");
    }

    #[test]
    fn seconds_are_rounded_to_a_tenth() {
        assert_eq!(tenths(12.04), "12");
        assert_eq!(tenths(12.25), "12.3");
        assert_eq!(tenths(0.0), "0");
    }
}
