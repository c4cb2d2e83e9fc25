//! A normalisation by its name, as the command line has it.

use kd_core::data::Normalisation;

/// Reads the name of a normalisation, as experiment files write it.
///
/// # Errors
/// A line that lists the names there are.
pub fn parse(name: &str) -> std::result::Result<Normalisation, String> {
    match name {
        "reviewkd" => Ok(Normalisation::Reviewkd),
        "crd" => Ok(Normalisation::Crd),
        _ => Err(format!("expected reviewkd or crd, got {name}")),
    }
}
