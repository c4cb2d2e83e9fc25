//! The reused teacher classifier: the student has a projector and the teacher's dense layer, which
//! stays as it is.

use candle_core::Tensor;
use kd_core::frozen::Frozen;
use kd_core::loss::hint;
use kd_core::method::{MethodSpec, PREFIX, Recipe, simkd};
use kd_core::model::{HeadSpec, LAST, Model, NetworkSpec};
use kd_core::{Error, Result};

use super::newer_feature_losses::golden;
use super::wiring::{look, number};
use super::{Pair, formula, step, student_gradients};

fn spec(reduction: usize) -> MethodSpec {
    simkd::Spec { reduction, weight: 1. }.into()
}

/// The pair as a run makes it: the method says which student.
fn pair(student: &str, teacher: &str) -> Result<Pair> {
    let plain = Pair::new(student, teacher)?;
    let network = NetworkSpec::from_name(student, 10)?;
    let network = spec(2).student(network, Some(&**plain.teacher.model()))?;
    Pair::new(&network.name(), teacher)
}

#[test]
fn simkds_loss_and_gradients_are_pytorchs() -> Result<()> {
    student_gradients::agrees("projected-256-8-2", spec(2), &golden()["simkd"])
}

#[test]
fn the_student_gets_a_projector_to_the_teachers_last_map_and_its_classifier() -> Result<()> {
    for (student, teacher, head) in [
        ("resnet8", "resnet8x4", (256, 8)),
        ("mobilenet-v2", "vgg13", (512, 4)),
        ("vgg8", "resnet8x4", (256, 8)),
        ("resnet8", "vgg8", (512, 4)),
        ("shufflenet-v2", "wrn-16-2", (128, 8)),
    ] {
        let pair = pair(student, teacher)?;
        let head = HeadSpec::Projected { channels: head.0, side: head.1, reduction: 2 };
        let expected = NetworkSpec::from_name(student, 10)?.with_head(head)?;
        let model = NetworkSpec::from_name(student, 10)?;
        let made = spec(2).student(model, Some(&**pair.teacher.model()))?;
        assert_eq!(made, expected, "{student}");
        let method = pair.build(&spec(2))?;
        let [own, theirs] =
            [pair.student.classifier(), pair.teacher.model().classifier()].map(|c| c.expect("one"));
        for (own, theirs) in [(&own.weight, &theirs.weight), (&own.bias, &theirs.bias)] {
            assert_eq!(formula::values(own)?, formula::values(theirs)?, "{student}");
        }
        let seen = look(&pair, &*method)?;
        let terms = method.terms(&step(&seen.wanted[0], &seen.wanted[1], &seen.labels, &[0; 4]))?;
        let [term] = &terms[..] else { panic!("{} terms", terms.len()) };
        assert_eq!((term.name, term.weight), ("projected", 1.));
        // The larger of the two maps is averaged to the size of the smaller.
        let [s, t] = [0, 1].map(|i: usize| seen.wanted[i].taps[0].clone());
        let (from, to) = (t.dim(2)?, s.dim(2)?);
        let t = if from > to { t.avg_pool2d(from / to)? } else { t };
        assert_eq!(s.dims(), t.dims(), "{student}");
        let expected = number(&hint(&s, &t)?)?;
        let got = number(&term.value)?;
        assert!((got - expected).abs() < 1e-5 * expected, "{got}, expected {expected}");
        let adapters = pair.params.named().iter().filter(|(n, _)| n.starts_with(PREFIX)).count();
        assert_eq!(adapters, 0, "the projector is the student's");
    }
    Ok(())
}

#[test]
fn what_is_deployed_says_what_the_teachers_classifier_says_of_the_projected_map() -> Result<()> {
    let pair = pair("resnet8", "resnet8x4")?;
    pair.build(&spec(2))?;
    let made = NetworkSpec::from_name("resnet8+projected-256-8-2", 10)?;
    let tensors = pair.params.without(PREFIX).snapshot()?;
    let deployed = Frozen::build(tensors, &candle_core::Device::Cpu, |vb| made.build(vb))?;
    let out = deployed.forward(&formula::images(3, "images", 0)?, &[LAST])?;
    let theirs = pair.teacher.model().classifier().expect("a classifier");
    let expected: Tensor =
        out.taps[0].mean((2, 3))?.matmul(&theirs.weight.t()?)?.broadcast_add(&theirs.bias)?;
    let gap = (expected - &out.logits)?.abs()?.max_all()?.to_scalar::<f32>()?;
    assert!(gap < 1e-5, "{gap}");
    Ok(())
}

#[test]
fn a_student_without_a_projector_and_numbers_outside_their_domain_are_refused() -> Result<()> {
    let refusal = |error: Option<Error>| {
        let error = error.expect("refused");
        assert!(error.is_bad_input(), "{error}");
        error.to_string()
    };
    let plain = Pair::new("resnet8", "resnet8x4")?;
    let error = refusal(plain.build(&spec(2)).err());
    assert_eq!(
        error,
        "simkd: expected a student with a projector to the teacher's 256 channels, got one of 64"
    );
    let network = || NetworkSpec::from_name("resnet8", 10);
    let teacher = &**plain.teacher.model();
    let error = refusal(spec(257).student(network()?, Some(teacher)).err());
    assert!(error.ends_with("at most the teacher's 256 channels, got 257"), "{error}");
    let error = refusal(spec(2).student(network()?, None).err());
    assert_eq!(error, "method: this one needs a teacher, and there is none");
    let headed = NetworkSpec::from_name("resnet8+standardised-1", 10)?;
    assert!(refusal(spec(2).student(headed, Some(teacher)).err()).starts_with("head: "));
    assert!(refusal(spec(0).check().err()).starts_with("method.reduction: "));
    let bad: MethodSpec = simkd::Spec { reduction: 2, weight: -1. }.into();
    assert!(refusal(bad.check().err()).starts_with("method.weight: "));
    Ok(())
}
