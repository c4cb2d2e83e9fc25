//! Information theoretic distillation: its terms and adapter beside PyTorch, and which features of
//! the student are compared.

use candle_core::Tensor;
use kd_core::Result;
use kd_core::loss::information_theoretic::mutual_information;
use kd_core::method::{MethodSpec, itrd};

use super::newer_feature_losses::golden;
use super::wiring::{look, number};
use super::{Pair, adapters, step};

fn spec() -> MethodSpec {
    let (correlation_weight, mutual_weight) = (1., 1.);
    itrd::Spec { correlation_weight, mutual_weight, alpha: 1.01, hard_weight: 0., soft: None }
        .into()
}

#[test]
fn itrds_terms_and_gradients_are_pytorchs() -> Result<()> {
    adapters::agrees(spec(), &["correlation", "mutual"], &golden()["itrd"])
}

#[test]
fn images_are_compared_by_the_students_own_features_where_the_widths_agree_and_by_embedded_ones_elsewhere()
-> Result<()> {
    for (teacher, widths_agree) in [("resnet14", true), ("resnet8x4", false)] {
        let pair = Pair::new("resnet8", teacher)?;
        let method = pair.build(&spec())?;
        let seen = look(&pair, &*method)?;
        let terms =
            method.terms(&step(&seen.wanted[0], &seen.wanted[1], &seen.labels, &[5, 6, 7, 8]))?;
        let [student, teacher] = seen.all.each_ref().map(|all| &all.taps[3]);
        let var = |name: &str| pair.params.get(&format!("method.embed.{name}")).expect("made");
        let embedded =
            student.matmul(&var("weight").t()?)?.broadcast_add(var("bias").as_tensor())?;
        let by = |x: &Tensor| -> Result<f64> { number(&mutual_information(x, teacher)?) };
        let (own, other) = (by(student)?, by(&embedded)?);
        let expected = if widths_agree { own } else { other };
        let got = number(&terms[1].value)?;
        assert!((got - expected).abs() < 1e-5 * expected, "{got}, expected {expected}");
        assert!((own - other).abs() > 1e-3 * own, "{own} {other}");
    }
    Ok(())
}
