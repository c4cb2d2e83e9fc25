//! Wasserstein distances of logits and of features: terms, what the teacher's maps of the training
//! images make of the costs between classes, and the adapter beside PyTorch's.

use candle_core::{DType, Device, IndexOp, Tensor};
use kd_core::Result;
use kd_core::Seed;
use kd_core::method::{Context, Distillation, MethodSpec, PREFIX, Pull, Recipe, Step, Teaching};
use kd_core::model::{Mode, Model, Outputs};
use kd_core::seed::StepSeed;

use super::newer_feature_losses::golden;
use super::on_logits::{HARD, golden_labels, golden_outputs, spec};
use super::wiring::{look, number};
use super::{Pair, adapters, formula, step};

const LOGITS: &str = "kind = 'wkd-l'\ntemperature = 8.0\nweight = 600.0\ntarget-weight = 0.5\nsharpening = 1.0\nimages-per-class = 2\nregularisation = 0.05\niterations = 10\ndecay = { from = 1, to = 4 }\nhard-weight = 1.0\n";
const FEATURES: &str = "kind = 'wkd-f'\nweight = 0.08\nmean-weight = 4.0\ngrid = 1\ndecay = { from = 1, to = 4 }\nhard-weight = 1.0\n";

/// Of logits, of features, and of both.
pub fn specs() -> Vec<MethodSpec> {
    vec![spec(LOGITS), spec(FEATURES), spec(&both())]
}

fn both() -> String {
    format!("{LOGITS}features = {{ weight = 0.08, mean-weight = 8.0, grid = 2 }}\n")
}

#[test]
fn wkd_fs_terms_and_gradients_are_pytorchs() -> Result<()> {
    let toml = "kind = 'wkd-f'\nweight = 1.0\nmean-weight = 1.0\ngrid = 2\ndecay = { from = 2, to = 4 }\nhard-weight = 0.0\n";
    adapters::agrees(spec(toml), &["means", "deviations"], &golden()["wkd_f"])
}

/// Names, weights and values of a step's terms in this epoch, counted from 0.
fn terms(
    method: &dyn Distillation,
    outputs: &[Outputs; 2],
    epoch: usize,
) -> Result<Vec<(&'static str, f64, f64)>> {
    let [student, teacher] = outputs;
    let labels = golden_labels()?;
    let step = Step { epoch, ..step(student, teacher, &labels, &[5, 6, 7, 8]) };
    let terms = method.terms(&step)?;
    assert!(terms.iter().all(|term| (term.pull == Pull::Task) == (term.name == "hard")));
    terms.iter().map(|term| Ok((term.name, term.weight, number(&term.value)?))).collect()
}

#[track_caller]
fn are(found: &[(&str, f64, f64)], expected: &[(&str, f64, f64)]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.0, expected.0);
        assert!((found.1 - expected.1).abs() < 1e-9, "{found:?}, expected {expected:?}");
        let gap = (found.2 - expected.2).abs();
        assert!(gap <= 3e-5 * expected.2.abs(), "{found:?}, expected {expected:?}");
    }
}

#[test]
fn the_terms_of_logits_have_the_known_values_and_transport_falls_from_the_epoch_of_its_decay_on()
-> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let method = pair.build(&spec(LOGITS))?;
    assert!(method.wants().teaching == Teaching::Logits && method.wants().student_taps.is_empty());
    assert_eq!(method.wants().survey.as_deref(), Some(&["stage3".to_owned()][..]));
    let cost = |i: usize| 1. - (-((i / 10) as f32 - (i % 10) as f32).abs() / 10.).exp() + 1e-8;
    let costs = Tensor::from_vec((0..100).map(cost).collect(), (10, 10), &Device::Cpu)?;
    pair.params.get("method.transport.costs").expect("a buffer").set(&costs)?;
    let outputs = golden_outputs()?;
    // Epochs 1 to 4, counted from 1: a half of a cosine from 1 to 4.
    for (epoch, share) in [(0, 1.), (1, 0.75), (2, 0.25), (3, 0.), (9, 0.)] {
        let expected = [
            ("hard", 1., HARD),
            ("target", 0.5, 0.1947720524925115),
            ("transport", 600. * share, 0.04935903296999752),
        ];
        are(&terms(&*method, &outputs, epoch)?, &expected);
    }
    Ok(())
}

#[test]
fn features_beside_logits_are_those_of_the_method_of_features_and_fall_with_them() -> Result<()> {
    let of = |toml: &str| -> Result<Vec<(&'static str, f64, f64)>> {
        let pair = Pair::new("resnet8", "resnet8x4")?;
        let method = pair.build(&spec(toml))?;
        let seen = look(&pair, &*method)?;
        terms(&*method, &seen.wanted, 1)
    };
    let (joined, logits) = (of(&both())?, of(LOGITS)?);
    let toml = FEATURES.replacen("grid = 1", "grid = 2", 1);
    let features = of(&toml.replacen("mean-weight = 4.0", "mean-weight = 8.0", 1))?;
    assert_eq!(features[1].0, "means");
    let (means, deviations) = (features[1], features[2]);
    assert!((means.1 - 0.75 * 0.64).abs() < 1e-9 && (deviations.1 - 0.75 * 0.08).abs() < 1e-9);
    assert!(means.2 > 0. && deviations.2 > 0.);
    are(&joined, &[&logits[..], &features[1..]].concat());
    Ok(())
}

#[test]
fn own_terms_reach_the_student_and_the_adapter() -> Result<()> {
    for (spec, adapters) in specs().into_iter().zip([0, 4, 4]) {
        let pair = Pair::new("resnet8", "resnet14")?;
        let method = pair.build(&spec)?;
        if let Some(costs) = pair.params.get("method.transport.costs") {
            costs.set(&formula::value("costs", costs.dims())?.abs()?)?;
        }
        let images = formula::images(4, "images", 0)?;
        let draws = StepSeed { seed: Seed(3), epoch: 1, step: 0 };
        let names = |taps: &[String]| taps.iter().map(String::clone).collect::<Vec<_>>();
        let own = names(&method.wants().student_taps);
        let taught = match &method.wants().teaching {
            Teaching::Live { taps } => names(taps),
            _ => Vec::new(),
        };
        let of = |network: &dyn Model, taps: &[String], mode| {
            network.forward(&images, &taps.iter().map(String::as_str).collect::<Vec<_>>(), mode)
        };
        let student = of(&*pair.student, &own, Mode::Train(draws))?;
        let teacher = of(&**pair.teacher.model(), &taught, Mode::Evaluate)?;
        let labels = golden_labels()?;
        let terms = method.terms(&step(&student, &teacher, &labels, &[5, 6, 7, 8]))?;
        let own = terms
            .iter()
            .filter(|term| term.pull == Pull::Teacher)
            .map(|term| term.value.clone())
            .reduce(|a, b| (a + b).expect("a sum"))
            .expect("a term");
        let grads = kd_kernels::backward(&own)?;
        let mut found = 0;
        for (name, var) in pair.params.named() {
            let moved = grads.get(&var).is_some_and(|g| {
                let values = formula::values(g).expect("numbers");
                values.iter().all(|g| g.is_finite()) && values.iter().any(|g| *g != 0.)
            });
            let unseen = matches!(spec, MethodSpec::WkdF(_)) && name.starts_with("fc.");
            // A bias in front of a batch-norm moves nothing.
            assert!(moved || unseen || name == "method.features.0.bias", "{spec:?}: {name}");
            found += usize::from(name.starts_with(PREFIX));
        }
        assert_eq!(found, adapters, "{spec:?}");
    }
    Ok(())
}

/// Images of the ten classes, two of most and three of the first four.
const COUNT: usize = 24;

fn labels() -> Vec<u8> {
    (0..COUNT).map(|i| (i * 7 % COUNT % 10) as u8).collect()
}

fn built(pair: &Pair, toml: &str, labels: &[u8]) -> Result<Box<dyn Distillation>> {
    let context = Context::new(&*pair.student, Some(&pair.teacher), labels, &pair.params, &pair.vb);
    spec(toml).build(&context)
}

/// Shows the method the images of these numbers, in batches of five.
fn survey(pair: &Pair, method: &dyn Distillation, numbers: &[u32]) -> Result<()> {
    let (images, labels) = (formula::images(COUNT, "training", 0)?, labels());
    for numbers in numbers.chunks(5) {
        let rows = Tensor::new(numbers, &Device::Cpu)?;
        let teacher = pair.teacher.forward(&images.index_select(&rows, 0)?, &["stage3"])?;
        let classes: Vec<u32> = numbers.iter().map(|&i| u32::from(labels[i as usize])).collect();
        let labels = Tensor::new(classes, &Device::Cpu)?;
        let draws = StepSeed { seed: Seed(3), epoch: 0, step: 0 };
        let (student, second, epoch) = (None, None, 0);
        let teacher = Some(&teacher);
        method.survey(&Step {
            student,
            teacher,
            second,
            labels: &labels,
            numbers,
            epoch,
            draws,
        })?;
    }
    Ok(())
}

/// The costs by their definition: of each class the pixels of its first two images, from centred
/// kernels of pixels, in f64.
fn expected(pair: &Pair) -> Result<Vec<f64>> {
    let (images, labels) = (formula::images(COUNT, "training", 0)?, labels());
    let stage = pair.teacher.forward(&images, &["stage3"])?.taps[0].relu()?;
    let stage = stage.to_dtype(DType::F64)?;
    let mut kernels = Vec::new();
    for class in 0..10 {
        let of_class = (0..COUNT).filter(|&i| labels[i] == class).take(2);
        let pixels: Vec<Tensor> = of_class
            .map(|i| Ok(stage.i(i)?.flatten_from(1)?.t()?.contiguous()?))
            .collect::<Result<_>>()?;
        assert_eq!(pixels.len(), 2);
        let pixels = Tensor::cat(&pixels, 0)?;
        let pixels = pixels.broadcast_sub(&pixels.mean_keepdim(0)?)?;
        kernels.push(pixels.matmul(&pixels.t()?)?.flatten_all()?);
    }
    let dot = |x: &Tensor, y: &Tensor| -> Result<f64> { Ok(x.mul(y)?.sum_all()?.to_scalar()?) };
    let mut costs = Vec::new();
    for x in &kernels {
        for y in &kernels {
            let alignment = dot(x, y)? / (dot(x, x)? * dot(y, y)?).sqrt();
            costs.push(1. - (alignment - 1.).exp() + 1e-8);
        }
    }
    Ok(costs)
}

#[test]
fn the_costs_are_made_of_how_the_pixels_of_the_classes_first_images_are_aligned() -> Result<()> {
    let all: Vec<u32> = (0..COUNT as u32).collect();
    // wrn-16-2's stages end in a sum of either sign.
    for teacher in ["resnet14", "wrn-16-2"] {
        let pair = Pair::new("resnet8", teacher)?;
        let method = built(&pair, LOGITS, &labels())?;
        survey(&pair, &*method, &all)?;
        let expected = expected(&pair)?;
        assert!(expected.iter().any(|cost| *cost > 0.05), "{expected:?}");
        let costs = pair.params.get("method.transport.costs").expect("a buffer");
        assert!(pair.params.buffers().iter().any(|(name, _)| name == "method.transport.costs"));
        let close = |what: &str| -> Result<()> {
            for (got, expected) in formula::values(&costs)?.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-5, "{what}: {got}, expected {expected}");
            }
            Ok(())
        };
        close("first")?;
        // More images than the smallest class has are as many; another phase makes the same anew.
        let more = LOGITS.replacen("images-per-class = 2", "images-per-class = 500", 1);
        let method = built(&pair, &more, &labels())?;
        for what in ["second", "third"] {
            costs.set(&costs.zeros_like()?)?;
            survey(&pair, &*method, &all)?;
            close(what)?;
        }
    }
    Ok(())
}

#[test]
fn images_that_are_missing_and_classes_of_too_few_are_refused_in_one_line() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let message = |result: Result<Box<dyn Distillation>>| {
        let error = result.err().expect("refused");
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let few = message(built(&pair, LOGITS, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]));
    assert_eq!(few, "wkd-l: expected at least 2 training images of each class, got 1 of class 2");
    let other = message(built(&pair, LOGITS, &[0, 10]));
    assert_eq!(other, "wkd-l: expected labels below 10, got 10");

    let method = built(&pair, LOGITS, &[])?;
    let error = survey(&pair, &*method, &[3]).expect_err("refused").to_string();
    assert_eq!(error, "wkd-l: expected the labels of all training images, got none of image 3");

    let method = built(&pair, LOGITS, &labels())?;
    survey(&pair, &*method, &[0, 1, 2])?;
    let error = terms(&*method, &golden_outputs()?, 0).expect_err("refused").to_string();
    assert_eq!(error, "wkd-l: expected 20 training images to pass before the first step, got 3");
    // Begun anew, all pass.
    survey(&pair, &*method, &(0..COUNT as u32).collect::<Vec<_>>())?;
    terms(&*method, &golden_outputs()?, 0)?;
    Ok(())
}

#[test]
fn a_grid_of_cells_that_overlap_or_have_one_pixel_is_refused() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    for (method, grid) in [("wkd-f", 3), ("wkd-f", 8), ("wkd-l", 3)] {
        let toml = match method {
            "wkd-f" => FEATURES.replacen("grid = 1", &format!("grid = {grid}"), 1),
            _ => both().replacen("grid = 2", &format!("grid = {grid}"), 1),
        };
        let Err(error) = pair.build(&spec(&toml)) else { panic!("{toml} was built") };
        let expected = format!(
            "{method}: expected a grid whose cells have at least 2 of the teacher's 8x8 pixels and do not overlap, got {grid}"
        );
        assert!(error.is_bad_input() && error.to_string() == expected, "{error}");
    }
    Ok(())
}

#[test]
fn hyper_parameters_outside_their_domain_are_refused_by_name() {
    let both = both();
    for (toml, from, to, part) in [
        (LOGITS, "temperature = 8.0", "temperature = 0.0", "temperature"),
        (LOGITS, "\nweight = 600.0", "\nweight = -1.0", "method.weight: "),
        (LOGITS, "target-weight = 0.5", "target-weight = nan", "method.target-weight: "),
        (LOGITS, "sharpening = 1.0", "sharpening = 0.0", "method.sharpening: "),
        (LOGITS, "images-per-class = 2", "images-per-class = 1", "method.images-per-class: "),
        (LOGITS, "regularisation = 0.05", "regularisation = 0.001", "method.regularisation: "),
        (LOGITS, "iterations = 10", "iterations = 0", "method.iterations: expected 1 to 1000"),
        (LOGITS, "to = 4", "to = 1", "method.decay.to: expected 2 to"),
        (LOGITS, "hard-weight = 1.0", "hard-weight = inf", "method.hard-weight: "),
        (FEATURES, "\nweight = 0.08", "\nweight = nan", "method.weight: "),
        (FEATURES, "mean-weight = 4.0", "mean-weight = -4.0", "method.mean-weight: "),
        (FEATURES, "grid = 1", "grid = 0", "method.grid: expected 1 to 32"),
        (FEATURES, "to = 4", "to = 0", "method.decay.to: "),
        (&both, "weight = 0.08", "weight = -0.08", "method.features.weight: "),
        (&both, "mean-weight = 8.0", "mean-weight = nan", "method.features.mean-weight: "),
        (&both, "grid = 2", "grid = 33", "method.features.grid: expected 1 to 32"),
    ] {
        assert!(toml.contains(from), "{from}");
        let Err(error) = spec(&toml.replacen(from, to, 1)).check() else { panic!("{to}") };
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
}
