//! The overhaul of feature distillation.

use kd_core::Result;
use kd_core::loss::overhaul;
use kd_core::loss::overhaul::margins;

use super::pair::{Pair, close, named, noise};

const OFD: &str = "kind = 'ofd'\nweight = 0.001\nstage-decay = 0.5\nhard-weight = 1.0";

#[test]
fn the_term_is_the_weighted_distance_of_connected_maps_cut_at_the_margins_of_the_teacher_s_norms()
-> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(OFD)?;
    assert_eq!(method.wants().student_taps, ["stage1.pre", "stage2.pre", "stage3.pre"]);
    let mut want = 0.;
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |step| {
        for (i, weight) in [0.25, 0.5, 1.].iter().enumerate() {
            let (s, t) = (&step.student()?.taps[i], &step.teacher()?.taps[i]);
            // The connector: a 1×1 convolution, and the norm of the batch, whose weight is 1 and
            // whose bias 0.
            let conv =
                pair.params.get(&format!("method.connector{}.0.weight", i + 1)).expect("a weight");
            let x = s.conv2d(&conv, 0, 1, 1, 1)?;
            let mean = x.mean_keepdim((0, 2, 3))?;
            let x = x.broadcast_sub(&mean)?;
            let x = x.broadcast_div(&(x.sqr()?.mean_keepdim((0, 2, 3))? + 1e-5)?.sqrt()?)?;
            let norm = format!("layer{}.1.bn2", i + 1);
            let m = margins(
                pair.teacher.tensor(&format!("{norm}.weight"))?,
                pair.teacher.tensor(&format!("{norm}.bias"))?,
            )?;
            want += weight * f64::from(overhaul(&x, t, &m)?.to_scalar::<f32>()?);
        }
        Ok(())
    })?;
    close(named(&terms, "overhaul")?, want);
    assert_eq!(
        terms.iter().map(|term| (term.name, term.weight)).collect::<Vec<_>>(),
        [("hard", 1.), ("overhaul", 0.001)]
    );
    let (adapters, pulled) = (pair.adapters(), pair.pulled(&terms)?);
    assert_eq!(adapters.len(), 9, "{adapters:?}");
    assert!(adapters.is_subset(&pulled), "{pulled:?}");
    Ok(())
}

#[test]
fn networks_of_other_stages_and_sizes_are_aligned_from_the_deepest() -> Result<()> {
    for (student, teacher, taps) in
        [("shufflenet-v2", "wrn-16-2", 3), ("resnet8", "vgg8", 3), ("vgg8", "vgg8", 4)]
    {
        let pair = Pair::new(student, teacher)?;
        if student == "resnet8" {
            // 32, 16, 8 of the student against 8, 4, 4 of the teacher.
            assert_eq!(
                pair.refused(OFD),
                "ofd: expected a teacher's stage2.pre of a whole multiple of the student's 32 pixels, got 8"
            );
            continue;
        }
        let method = pair.method(OFD)?;
        assert_eq!(method.wants().student_taps.len(), taps);
        let terms = pair.step(&*method, &[0, 1], 0, |_| Ok(()))?;
        assert!(
            named(&terms, "overhaul")? > 0. && pair.adapters().is_subset(&pair.pulled(&terms)?),
            "{student} {teacher}"
        );
    }
    Ok(())
}

#[test]
fn networks_without_taps_before_their_activations_are_an_error_of_one_line_before_training()
-> Result<()> {
    let message = |who: &str| {
        format!("ofd: expected a {who} with a tap before the activation of stage1, got none")
    };
    assert_eq!(Pair::new("mobilenet-v2", "resnet14")?.refused(OFD), message("student"));
    assert_eq!(Pair::new("resnet8", "mobilenet-v2")?.refused(OFD), message("teacher"));
    let unnamed = Pair::new("shufflenet-v1", "shufflenet-v1")?.refused(OFD);
    assert_eq!(
        unnamed,
        "ofd: expected a teacher that names the batch-norm of stage1.pre, got one that does not"
    );
    Ok(())
}

#[test]
fn a_margin_follows_the_teacher_s_own_numbers() -> Result<()> {
    // Of many values of the teacher's last map that are below 0, the mean is near the margin where
    // the tap is the norm's output alone.
    let pair = Pair::new("vgg8", "vgg8")?;
    let m =
        margins(pair.teacher.tensor("block1.1.weight")?, pair.teacher.tensor("block1.1.bias")?)?
            .to_vec1::<f32>()?;
    let images = noise(&[8, 3, 32, 32], "margins")?;
    let tap = &pair.teacher.with_batch_statistics().forward(&images, &["stage1.pre"])?.taps[0];
    let channels = tap.transpose(0, 1)?.flatten_from(1)?.to_vec2::<f32>()?;
    let mut gaps: Vec<f32> = channels
        .iter()
        .zip(&m)
        .map(|(values, m)| {
            let below: Vec<f32> = values.iter().copied().filter(|x| *x < 0.).collect();
            (below.iter().sum::<f32>() / below.len() as f32 - m).abs()
        })
        .collect();
    gaps.sort_by(f32::total_cmp);
    assert!(gaps[gaps.len() / 2] < 0.1, "{gaps:?}");
    Ok(())
}
