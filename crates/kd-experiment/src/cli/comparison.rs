//! How a student beside its teacher is printed.

use std::io::Write;

use super::output::output_error;
use crate::error::Result;

/// A number of both networks.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What it is, with its unit.
    pub name: String,
    /// The teacher's and the student's.
    pub values: [f64; 2],
    /// Digits after the point.
    pub digits: usize,
}

/// Prints two networks side by side, a measure a line, and below them the share of the examples, in
/// [0, 1], on which they agree; `names` are what the user called them.
///
/// # Errors
/// When `out` cannot be written to.
pub fn print_comparison(
    measures: &[Measure],
    agreement: f64,
    names: [&str; 2],
    out: &mut dyn Write,
) -> Result<()> {
    let mut text = String::new();
    for Measure { name, values: [teacher, student], digits } in measures {
        text.push_str(&format!("{name:<28}{teacher:>16.digits$}{student:>16.digits$}\n"));
    }
    text.push_str(&format!("teacher: {}\nstudent: {}\n", names[0], names[1]));
    text.push_str(&format!(
        "they name the same class for {:.2} % of the images\n",
        100. * agreement
    ));
    out.write_all(text.as_bytes()).map_err(output_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_two_columns_with_their_digits() {
        let measure =
            |name: &str, values, digits| Measure { name: name.to_owned(), values, digits };
        let measures =
            [measure("test errors", [81., 1234.], 0), measure("accuracy, %", [99.19, 87.66], 2)];
        let mut out = Vec::new();
        print_comparison(&measures, 0.87654, ["a", "b"], &mut out).unwrap();
        let expected = "test errors                               81            1234
accuracy, %                            99.19           87.66
teacher: a
student: b
they name the same class for 87.65 % of the images
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
