//! Terms of methods on logits alone, at logits of which the values are known: 3·sin(0.7·i + 0.1) of
//! the student, 4·sin(1.3·i + 0.5) of the teacher.

use candle_core::{DType, Device, Tensor};
use kd_core::frozen::Frozen;
use kd_core::loss::cross_entropy;
use kd_core::method::{Context, MethodSpec, PREFIX, Pull, Recipe, Teaching};
use kd_core::model::{Mode, NetworkSpec, Outputs};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::{Result, Seed};

use super::{Pair, formula, step};

/// The golden logits of one side, in f32.
fn logits(scale: f64, a: f64, b: f64) -> Result<Outputs> {
    let values: Vec<f64> = (0..40).map(|i| scale * (a * f64::from(i) + b).sin()).collect();
    let logits = Tensor::from_vec(values, (4, 10), &Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(Outputs { logits, taps: Vec::new() })
}

/// Those of student and teacher.
pub fn golden_outputs() -> Result<[Outputs; 2]> {
    Ok([logits(3., 0.7, 0.1)?, logits(4., 1.3, 0.5)?])
}

/// Their labels.
pub fn golden_labels() -> Result<Tensor> {
    Ok(Tensor::new(&[2u32, 0, 7, 9], &Device::Cpu)?)
}

/// The method that an experiment file writes so.
pub fn spec(toml: &str) -> MethodSpec {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{toml}: {error}"))
}

/// Cross-entropy of the golden logits with their labels.
pub const HARD: f64 = 2.0026245516114516;

/// Soft targets of the golden logits at T = 4.
pub const SOFT: f64 = 5.587147982836503;

/// A method as an experiment file writes it, and names, weights and values of its own terms in the
/// second epoch. Values are those of the reference programs, as far as they are known.
struct Known {
    toml: &'static str,
    own: &'static [(&'static str, f64, f64)],
}

/// Methods that have the terms `hard` and, where they are joined with it, `soft` before their own.
const KNOWN: &[Known] = &[
    Known {
        toml: "kind = 'dkd'\ntemperature = 2.0\nalpha = 9.0\nbeta = 72.0\nwarm-up-epochs = 20\nstandardised = true\n",
        own: &[("target", 0.9, 0.04489664478876533), ("non-target", 7.2, 0.9316509541354293)],
    },
    Known {
        toml: "kind = 'dist'\ntemperature = 4.0\ninter-weight = 2.0\nintra-weight = 3.0\n",
        own: &[("inter-class", 2., 15.36246209866628), ("intra-class", 3., 15.64525100435468)],
    },
    Known {
        toml: "kind = 'ttm'\nexponent = 0.1\nweighted = false\nweight = 45.0\n",
        own: &[("transformed", 45., 1.541847174456732)],
    },
    Known {
        toml: "kind = 'ttm'\nexponent = 0.1\nweighted = true\nweight = 4.0\n",
        own: &[("transformed", 4., 10.06069561730098)],
    },
    Known {
        toml: "kind = 'luminet'\ntemperature = 4.0\nweight = 1089.0\nwarm-up-epochs = 20\n",
        own: &[("perception", 108.9, 0.06241516872624844)],
    },
    Known {
        toml: "kind = 'gkl'\ntemperature = 4.0\nalpha = 2.0\nbeta = 8.0\nweights-temperature = 4.0\nexponent = 0.1\nclass-means = false\nwarm-up-epochs = 4\n",
        own: &[
            ("soft-cross-entropy", 1., 2.446603667863543),
            ("differences", 4., 6.464330865178548),
        ],
    },
    Known {
        toml: "kind = 'rld'\ntemperature = 4.0\nconfidence-temperature = 1.0\nalpha = 1.0\nbeta = 8.0\nwarm-up-epochs = 20\n",
        own: &[("confidence", 0.1, 0.3006490654106149), ("correlation", 0.8, 3.784550028081155)],
    },
    Known {
        toml: "kind = 'nkd'\ntemperature = 1.0\ntarget-weight = 1.0\nothers-weight = 1.5\nlabel-stays = false\nwarm-up-epochs = 0\n",
        own: &[("target", 1., 0.1947720524925115), ("others", 1.5, 3.911197463380592)],
    },
    Known {
        // 16 times the cross-entropy with soft targets at T = 4.
        toml: "kind = 'nkd'\ntemperature = 4.0\ntarget-weight = 1.0\nothers-weight = 1.5\nlabel-stays = true\nwarm-up-epochs = 20\n",
        own: &[("target", 0.1, 0.1947720524925115), ("others", 0.15, 39.14565868581669)],
    },
    Known {
        toml: "kind = 'abkd'\ntemperature = 4.0\nalpha = 0.8\nbeta = 0.3\nweight = 32.0\n",
        own: &[("divergence", 32., 0.2648071525002401)],
    },
];

/// The methods above, joined with soft targets.
pub fn specs() -> Vec<MethodSpec> {
    let joined = "hard-weight = 1.0\nsoft = { temperature = 4.0, weight = 0.5 }\n";
    KNOWN.iter().map(|known| spec(&format!("{}{joined}", known.toml))).collect()
}

/// Soft targets and the direction of the gap, which are not joined with other soft targets.
pub const SKD: &str = "kind = 'skd'\ntemperature = 4.0\nridge = 0.1\nsoft-weight = 0.9\ndirection-weight = 0.8\nhard-weight = 0.1\n";

/// Checks names, weights and values of a method's terms in the second epoch, at the golden logits.
#[track_caller]
pub fn terms_are(toml: &str, expected: &[(&str, f64, f64)]) -> Result<()> {
    let method = Pair::new("resnet8", "resnet8")?.build(&spec(toml))?;
    assert!(method.wants().teaching == Teaching::Logits && method.wants().student_taps.is_empty());
    let [student, teacher] = golden_outputs()?;
    let labels = golden_labels()?;
    let terms = method.terms(&step(&student, &teacher, &labels, &[5, 6, 7, 8]))?;
    assert_eq!(terms.len(), expected.len(), "{toml}");
    for (term, (name, weight, value)) in terms.iter().zip(expected) {
        assert_eq!(term.name, *name, "{toml}");
        assert!((term.weight - weight).abs() < 1e-12, "{toml}: {name} of weight {}", term.weight);
        let got = formula::values(&term.value)?[0];
        assert!((got - value).abs() < 3e-5 * value, "{toml}: {name} {got}, expected {value}");
        assert_eq!(term.pull == Pull::Task, *name == "hard", "{name}");
    }
    Ok(())
}

#[test]
fn the_known_logits_are_those_of_the_reference_programs() -> Result<()> {
    let hard =
        formula::values(&cross_entropy(&golden_outputs()?[0].logits, &golden_labels()?)?)?[0];
    assert!((hard - HARD).abs() < 1e-5);
    Ok(())
}

#[test]
fn own_terms_have_the_known_values_beside_hard_and_soft_targets() -> Result<()> {
    for Known { toml, own } in KNOWN {
        let hard = ("hard", 1., HARD);
        terms_are(&format!("{toml}hard-weight = 1.0\n"), &[&[hard], *own].concat())?;
        terms_are(&format!("{toml}hard-weight = 0.0\n"), own)?;
        terms_are(
            &format!("{toml}hard-weight = 1.0\nsoft = {{ temperature = 4.0, weight = 0.5 }}\n"),
            &[&[hard, ("soft", 0.5, SOFT)], *own].concat(),
        )?;
    }
    Ok(())
}

#[test]
fn soft_targets_standardise_and_weigh_their_cases_where_they_say_so() -> Result<()> {
    let at = |t: &str, more: &str| {
        format!(
            "kind = 'soft-targets'\ntemperature = {t}\nsoft-weight = 0.9\nhard-weight = 0.1\n{more}"
        )
    };
    let bound =
        |bound: &str| format!("entropy-weights = {{ temperature = 3.0, bound = '{bound}' }}\n");
    let hard = ("hard", 0.1, HARD);
    terms_are(&at("4.0", ""), &[("soft", 0.9, SOFT), hard])?;
    let standardised = at("2.0", "standardised = true\n");
    terms_are(&standardised, &[("soft", 0.9, 0.8699469865347276), hard])?;
    let soft = ("soft", 0.9, 10.5873946466189);
    terms_are(&at("4.0", &bound("log-classes")), &[soft, hard])?;
    // In place of ln 10 for a bound.
    terms_are(&at("4.0", &bound("classes")), &[("soft", 0.9, 6.6941332609876625), hard])
}

#[test]
fn temperatures_in_proportion_to_the_spread_have_the_value_of_pytorch() -> Result<()> {
    let toml = "kind = 'norm-kd'\ntemperature = 2.0\nsoft-weight = 0.9\nhard-weight = 0.1\n";
    terms_are(toml, &[("hard", 0.1, HARD), ("soft", 0.9, 7.681095445964975)])
}

#[test]
fn soft_targets_and_the_direction_of_the_gap_count_by_the_shares_of_what_the_teacher_is_unsure_of()
-> Result<()> {
    // Half of the images and half of the classes.
    let (soft, direction) = (SOFT / 2., 0.2186058298692729 / 2.);
    terms_are(SKD, &[("hard", 0.1, HARD), ("soft", 0.9, soft), ("direction", 0.8, direction)])
}

#[test]
fn a_choice_that_is_not_made_is_not_written() {
    for text in [
        "kind = \"soft-targets\"\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1\n",
        "kind = \"dkd\"\ntemperature = 4.0\nalpha = 1.0\nbeta = 8.0\nwarm-up-epochs = 20\nhard-weight = 1.0\n",
    ] {
        assert_eq!(toml::to_string(&spec(text)).expect("TOML"), text);
        let chosen = format!("{text}standardised = true\n");
        assert_eq!(toml::to_string(&spec(&chosen)).expect("TOML"), chosen);
    }
    let weighted = "kind = \"soft-targets\"\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1\n\n[entropy-weights]\ntemperature = 3.0\nbound = \"classes\"\n";
    assert_eq!(toml::to_string(&spec(weighted)).expect("TOML"), weighted);
}

#[test]
fn a_teacher_of_other_classes_is_refused() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let network = NetworkSpec::from_name("resnet8", 20)?;
    let (weights, vb) = Params::seeded(Seed(8), &Device::Cpu);
    network.build(vb)?;
    let teacher = Frozen::build(weights.snapshot()?, &Device::Cpu, |vb| network.build(vb))?;
    let context = Context::new(&*pair.student, Some(&teacher), &[], &pair.params, &pair.vb);
    for spec in specs() {
        let Err(error) = spec.build(&context) else { panic!("{spec:?} was built") };
        let end = "expected a student and a teacher of the same classes, at least 2, got 10 and 20";
        assert!(error.is_bad_input() && error.to_string().ends_with(end), "{error}");
    }
    Ok(())
}

#[test]
fn own_terms_reach_every_weight_of_a_student() -> Result<()> {
    let more = [
        SKD,
        "kind = 'norm-kd'\ntemperature = 2.0\nsoft-weight = 0.9\nhard-weight = 0.1\n",
        "kind = 'ctkd'\nleast-temperature = 1.0\nspan = 20.0\nstart = 1.0\nreversal-epochs = 10\nsoft-weight = 0.9\nhard-weight = 0.1\n",
        "kind = 'soft-targets'\ntemperature = 4.0\nsoft-weight = 0.9\nhard-weight = 0.1\nstandardised = true\nentropy-weights = { temperature = 3.0, bound = 'log-classes' }\n",
    ];
    let images = formula::images(4, "images", 0)?;
    for spec in specs().into_iter().chain(more.map(spec)) {
        let pair = Pair::new("resnet8", "resnet14")?;
        let method = pair.build(&spec)?;
        let draws = StepSeed { seed: Seed(3), epoch: 1, step: 0 };
        let student = pair.student.forward(&images, &[], Mode::Train(draws))?;
        let teacher = pair.teacher.model().forward(&images, &[], Mode::Evaluate)?;
        let labels = golden_labels()?;
        let terms = method.terms(&step(&student, &teacher, &labels, &[5, 6, 7, 8]))?;
        let own = terms
            .iter()
            .filter(|term| term.pull == Pull::Teacher)
            .map(|term| term.value.clone())
            .reduce(|a, b| (a + b).expect("a sum"))
            .expect("a term");
        let grads = kd_kernels::backward(&own)?;
        let mut adapters = 0;
        for (name, var) in pair.params.named() {
            let values = formula::values(grads.get(&var).expect("a gradient"))?;
            assert!(values.iter().all(|g| g.is_finite()), "{spec:?}: {name}");
            assert!(values.iter().any(|g| *g != 0.), "{spec:?}: {name}");
            adapters += usize::from(name.starts_with(PREFIX));
        }
        assert_eq!(adapters, usize::from(matches!(spec, MethodSpec::Ctkd(_))), "{spec:?}");
    }
    Ok(())
}

#[test]
fn hyper_parameters_outside_their_domain_are_refused_by_name() {
    let change = |toml: &str, from: &str, to: &str| {
        assert!(toml.contains(from), "{toml}");
        spec(&format!("{}hard-weight = 1.0\n", toml.replacen(from, to, 1)))
    };
    let known = |kind: &str| {
        KNOWN.iter().find(|known| known.toml.contains(&format!("'{kind}'"))).expect("known").toml
    };
    for (kind, from, to, part) in [
        ("dist", "inter-weight = 2.0", "inter-weight = -2.0", "method.inter-weight: "),
        ("dist", "intra-weight = 3.0", "intra-weight = inf", "method.intra-weight: "),
        ("dist", "temperature = 4.0", "temperature = 0.0", "temperature"),
        ("ttm", "exponent = 0.1", "exponent = -0.1", "method.exponent: "),
        ("ttm", "weight = 45.0", "weight = nan", "method.weight: "),
        ("luminet", "warm-up-epochs = 20", "warm-up-epochs = 2000000", "method.warm-up-epochs: "),
        ("luminet", "weight = 1089.0", "weight = -1.0", "method.weight: "),
        ("gkl", "exponent = 0.1", "exponent = 1e9", "method.exponent: "),
        ("gkl", "weights-temperature = 4.0", "weights-temperature = 0.0", "temperature"),
        ("gkl", "beta = 8.0", "beta = -8.0", "method.beta: "),
        ("rld", "confidence-temperature = 1.0", "confidence-temperature = -1.0", "temperature"),
        ("rld", "alpha = 1.0", "alpha = -1.0", "method.alpha: "),
        ("nkd", "others-weight = 1.5", "others-weight = -1.5", "method.others-weight: "),
        ("nkd", "target-weight = 1.0", "target-weight = nan", "method.target-weight: "),
        ("abkd", "alpha = 0.8", "alpha = 0.0", "method.alpha: "),
        ("abkd", "beta = 0.3", "beta = nan", "method.beta: "),
        ("skd", "ridge = 0.1", "ridge = 0.0", "method.ridge: expected a number from 1e-6 to 1e6"),
        ("skd", "direction-weight = 0.8", "direction-weight = -1.0", "method.direction-weight: "),
        ("skd", "soft-weight = 0.9", "soft-weight = nan", "soft-weight NaN"),
        ("skd", "temperature = 4.0", "temperature = 0.0", "temperature"),
    ] {
        let spec = match kind {
            "skd" => self::spec(&SKD.replacen(from, to, 1)),
            _ => change(known(kind), from, to),
        };
        let Err(error) = spec.check() else { panic!("{spec:?}") };
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
}
