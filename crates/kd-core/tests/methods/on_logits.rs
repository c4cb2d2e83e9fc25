//! Terms of methods on logits alone, at logits of which the values are known: 3·sin(0.7·i + 0.1) of
//! the student, 4·sin(1.3·i + 0.5) of the teacher.

use candle_core::{DType, Device, Tensor};
use kd_core::Result;
use kd_core::loss::cross_entropy;
use kd_core::method::{MethodSpec, Pull, Teaching};
use kd_core::model::Outputs;

use super::{Pair, formula, step};

/// The golden logits of one side, in f32.
fn logits(scale: f64, a: f64, b: f64) -> Result<Outputs> {
    let values: Vec<f64> = (0..40).map(|i| scale * (a * f64::from(i) + b).sin()).collect();
    let logits = Tensor::from_vec(values, (4, 10), &Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(Outputs { logits, taps: Vec::new() })
}

fn spec(toml: &str) -> MethodSpec {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

/// Checks names, weights and values of a method's terms in the second epoch.
#[track_caller]
fn terms_are(toml: &str, expected: &[(&str, f64, f64)]) -> Result<()> {
    let method = Pair::new("resnet8", "resnet8")?.build(&spec(toml))?;
    assert!(method.wants().teaching == Teaching::Logits && method.wants().student_taps.is_empty());
    let (student, teacher) = (logits(3., 0.7, 0.1)?, logits(4., 1.3, 0.5)?);
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    let terms = method.terms(&step(&student, &teacher, &labels, &[5, 6, 7, 8]))?;
    let got: Vec<_> = terms.iter().map(|term| (term.name, term.weight)).collect();
    let wanted: Vec<_> = expected.iter().map(|&(name, weight, _)| (name, weight)).collect();
    assert_eq!(got, wanted, "{toml}");
    for (term, (name, _, value)) in terms.iter().zip(expected) {
        let got = formula::values(&term.value)?[0];
        assert!((got - value).abs() < 3e-5 * value, "{toml}: {name} {got}, expected {value}");
        assert_eq!(term.pull == Pull::Task, *name == "hard", "{name}");
    }
    Ok(())
}

/// Cross-entropy of the golden logits with their labels.
const HARD: f64 = 2.0026245516114516;

#[test]
fn the_known_logits_are_those_of_the_reference_programs() -> Result<()> {
    let labels = Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?;
    let hard = formula::values(&cross_entropy(&logits(3., 0.7, 0.1)?.logits, &labels)?)?[0];
    assert!((hard - HARD).abs() < 1e-5);
    Ok(())
}

#[test]
fn soft_targets_and_their_parts_compare_standardised_logits_where_they_say_so() -> Result<()> {
    let plain = "kind = 'soft-targets'\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1\n";
    terms_are(plain, &[("soft", 0.9, 5.587147982836503), ("hard", 0.1, HARD)])?;
    terms_are(
        &format!("{}standardised = true\n", plain.replace("4.0", "2.0")),
        &[("soft", 0.9, 0.8699469865347276), ("hard", 0.1, HARD)],
    )?;
    let dkd = "kind = 'dkd'\nalpha = 9.0\nbeta = 72.0\nwarm-up-epochs = 20\nhard-weight = 1.0\n";
    terms_are(
        &format!(
            "{dkd}temperature = 2.0\nstandardised = true\nsoft = {{ temperature = 4.0, weight = 0.5 }}\n"
        ),
        &[
            ("hard", 1., HARD),
            ("soft", 0.5, 5.587147982836503),
            ("target", 0.9, 0.04489664478876533),
            ("non-target", 7.2, 0.9316509541354293),
        ],
    )
}

#[test]
fn a_method_that_does_not_standardise_is_written_as_before_there_was_a_choice() {
    for text in [
        "kind = \"soft-targets\"\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1\n",
        "kind = \"dkd\"\ntemperature = 4.0\nalpha = 1.0\nbeta = 8.0\nwarm-up-epochs = 20\nhard-weight = 1.0\n",
    ] {
        assert_eq!(toml::to_string(&spec(text)).expect("TOML"), text);
        let chosen = format!("{text}standardised = true\n");
        assert_eq!(toml::to_string(&spec(&chosen)).expect("TOML"), chosen);
    }
}
