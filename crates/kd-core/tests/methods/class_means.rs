//! Classes that weigh by a teacher's mean predictions of the epoch before.

use candle_core::{Device, Tensor};
use kd_core::Result;
use kd_core::method::{Distillation, Step};
use kd_core::model::Outputs;

use super::on_logits::{golden_labels, golden_outputs, spec};
use super::{Pair, formula, step};

const TOML: &str = "kind = 'gkl'\ntemperature = 4.0\nalpha = 1.0\nbeta = 8.0\nweights-temperature = 4.0\nexponent = 0.5\nclass-means = true\nwarm-up-epochs = 20\nhard-weight = 0.0\n";

/// The value of the term `differences` by its definition, with a row of weights for each case.
fn differences(student: &Tensor, teacher: &Tensor, weights: &[Vec<f64>]) -> Result<f64> {
    let rows = |x: &Tensor| -> Result<Vec<Vec<f64>>> {
        Ok(formula::values(x)?.chunks(10).map(<[f64]>::to_vec).collect())
    };
    let (s, t) = (rows(student)?, rows(teacher)?);
    let (mut sum, mut weight) = (0., 0.);
    for (i, w) in weights.iter().enumerate() {
        for j in 0..10 {
            for k in 0..10 {
                let d = (t[i][j] - t[i][k]) - (s[i][j] - s[i][k]);
                sum += w[j] * w[k] * d * d / 4.;
                weight += w[j] * w[k];
            }
        }
    }
    Ok(sum / weight)
}

/// The softmax of each row over 4.
fn predictions(teacher: &Tensor) -> Result<Vec<Vec<f64>>> {
    Ok(formula::values(teacher)?
        .chunks(10)
        .map(|row| {
            let powers: Vec<f64> = row.iter().map(|z| (z / 4.).exp()).collect();
            powers.iter().map(|p| p / powers.iter().sum::<f64>()).collect()
        })
        .collect())
}

struct Batch {
    student: Outputs,
    teacher: Outputs,
    labels: Tensor,
}

impl Batch {
    fn new(labels: [u32; 4]) -> Result<Self> {
        let [student, teacher] = golden_outputs()?;
        Ok(Self { student, teacher, labels: Tensor::new(&labels, &Device::Cpu)? })
    }

    fn step(&self, epoch: usize) -> Step<'_> {
        Step { epoch, ..step(&self.student, &self.teacher, &self.labels, &[0, 1, 2, 3]) }
    }
}

/// The value of `differences` in this step.
fn value(method: &dyn Distillation, step: &Step) -> Result<f64> {
    let term = method.terms(step)?.remove(1);
    assert_eq!(term.name, "differences");
    Ok(formula::values(&term.value)?[0])
}

#[track_caller]
fn close(got: f64, expected: f64) {
    assert!((got - expected).abs() < 1e-5 * expected, "{got}, expected {expected}");
}

#[test]
fn in_the_first_epoch_all_classes_weigh_alike_and_then_as_the_teacher_predicted_for_their_class()
-> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let method = pair.build(&spec(TOML))?;
    let (one, two) = (Batch::new([2, 0, 7, 2])?, Batch::new([0, 2, 5, 7])?);
    let (s, t) = (&one.student.logits, &one.teacher.logits);
    let alike = differences(s, t, &vec![vec![1.; 10]; 4])?;
    for batch in [&one, &two] {
        close(value(&*method, &batch.step(0))?, alike);
        method.remember(&batch.step(0))?;
    }
    // The mean by class over both batches, to the power 1/2; class 9 has no image.
    let p = predictions(t)?;
    let mean = |rows: &[usize]| -> Vec<f64> {
        let sum = |c: usize| rows.iter().map(|&i| p[i][c]).sum::<f64>();
        (0..10).map(|c| (sum(c) / rows.len() as f64).sqrt()).collect()
    };
    let (zero, two_, seven) = (mean(&[1, 0]), mean(&[0, 3, 1]), mean(&[2, 3]));
    let uniform = vec![0.1f64.sqrt(); 10];
    let next = Batch::new([2, 0, 7, 9])?;
    assert_eq!(next.labels.to_vec1::<u32>()?, golden_labels()?.to_vec1::<u32>()?);
    let expected = differences(s, t, &[two_, zero, seven, uniform])?;
    assert!((expected - alike).abs() > 1e-3 * alike);
    close(value(&*method, &next.step(1))?, expected);
    // A loss does not move what is remembered, and what this epoch counts is not used in it.
    method.remember(&next.step(1))?;
    close(value(&*method, &next.step(1))?, expected);
    Ok(())
}

#[test]
fn what_is_remembered_is_saved_with_the_run_and_never_trained() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let method = pair.build(&spec(TOML))?;
    let batch = Batch::new([2, 0, 7, 9])?;
    for epoch in [0, 1] {
        method.remember(&batch.step(epoch))?;
    }
    let other = Pair::new("resnet8", "resnet8")?;
    let again = other.build(&spec(TOML))?;
    other.params.set(&pair.params.snapshot()?)?;
    let (a, b) = (value(&*method, &batch.step(1))?, value(&*again, &batch.step(1))?);
    assert_eq!(a, b);
    let fresh = Pair::new("resnet8", "resnet8")?.build(&spec(TOML))?;
    assert!((value(&*fresh, &batch.step(1))? - a).abs() > 1e-3 * a);
    let buffers: Vec<String> = pair.params.buffers().into_iter().map(|(name, _)| name).collect();
    for name in ["method.means.epoch", "method.means.now", "method.means.sums"] {
        assert!(buffers.iter().any(|buffer| buffer == name), "{name} in {buffers:?}");
    }
    assert!(pair.params.named().iter().all(|(name, _)| !name.starts_with("method.")));
    Ok(())
}
