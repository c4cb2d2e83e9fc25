//! Class attention transfer: the maps are what the networks' own classifiers say of each place, and
//! what becomes of their biases.

use candle_core::Tensor;
use kd_core::Result;
use kd_core::loss::class_activation;
use kd_core::method::{MethodSpec, cat_kd};
use kd_core::model::{Classifier, LAST, Model};

use super::wiring::{look, number};
use super::{Pair, formula, step};

fn spec(bias: cat_kd::Bias, normalised: bool) -> MethodSpec {
    cat_kd::Spec { weight: 15., side: 2, normalised, bias, hard_weight: 1., soft: None }.into()
}

/// The class activation maps: the classifier as a convolution over all pixels.
fn activations(map: &Tensor, of: &Classifier, with_bias: bool) -> Result<Tensor> {
    let (classes, channels) = of.weight.dims2()?;
    let maps = map.conv2d(&of.weight.reshape((classes, channels, 1, 1))?, 0, 1, 1, 1)?;
    let bias = of.bias.reshape((1, classes, 1, 1))?;
    Ok(if with_bias { maps.broadcast_add(&bias)? } else { maps })
}

#[test]
fn the_term_is_the_distance_of_convolutions_of_the_last_maps_by_the_classifiers() -> Result<()> {
    for (student, teacher, head) in
        [("resnet8", "wrn-16-2", "fc"), ("mobilenet-v2", "vgg13", "classifier.0")]
    {
        let mut values = Vec::new();
        for (bias, normalised) in [
            (cat_kd::Bias::Dropped, false),
            (cat_kd::Bias::Kept, false),
            (cat_kd::Bias::Dropped, true),
        ] {
            let pair = Pair::new(student, teacher)?;
            // It may begin at 0.
            let head = |part: &str| pair.params.get(&format!("{head}.{part}")).expect("made");
            head("bias").set(&formula::value("bias", head("bias").dims())?)?;
            let method = pair.build(&spec(bias, normalised))?;
            assert_eq!(method.wants().student_taps, [LAST]);
            let seen = look(&pair, &*method)?;
            let kept = bias == cat_kd::Bias::Kept;
            let student = pair.student.classifier().expect("a classifier");
            let teacher = pair.teacher.model().classifier().expect("a classifier");
            let expected = number(&class_activation(
                &activations(&seen.wanted[0].taps[0], &student, kept)?,
                &activations(&seen.wanted[1].taps[0], &teacher, kept)?,
                2,
                normalised,
            )?)?;
            let terms = method.terms(&step(
                &seen.wanted[0],
                &seen.wanted[1],
                &seen.labels,
                &[5, 6, 7, 8],
            ))?;
            let names: Vec<_> = terms.iter().map(|term| (term.name, term.weight)).collect();
            assert_eq!(names, [("hard", 1.), ("attention", 15.)]);
            let got = number(&terms[1].value)?;
            assert!((got - expected).abs() < 1e-4 * expected, "{got}, expected {expected}");
            values.push(got);
            let gradients = kd_kernels::backward(&terms[1].value)?;
            let moves = |part: &str| gradients.get(&head(part)).is_some();
            assert!(moves("weight") && moves("bias") == kept, "{bias:?}");
        }
        assert!((values[0] - values[1]).abs() > 1e-3 * values[0], "the bias does not count");
    }
    Ok(())
}
