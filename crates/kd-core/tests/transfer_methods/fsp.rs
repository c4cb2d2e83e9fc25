//! The flow of solution procedure.

use kd_core::Result;
use kd_core::loss::solution_flow;

use super::pair::{Pair, close, named};

const FSP: &str = "kind = 'fsp'\nweight = 1.0\nhard-weight = 0.0";

#[test]
fn the_term_is_the_sum_over_consecutive_maps_stem_included() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let method = pair.method(FSP)?;
    assert_eq!(method.wants().student_taps, ["stem", "stage1", "stage2", "stage3"]);
    let mut want = 0.;
    let terms = pair.step(&*method, &[0, 1, 2, 5], 0, |step| {
        let (s, t) = (&step.student()?.taps, &step.teacher()?.taps);
        for i in 0..3 {
            want += f64::from(
                solution_flow((&s[i], &s[i + 1]), (&t[i], &t[i + 1]))?.to_scalar::<f32>()?,
            );
        }
        Ok(())
    })?;
    assert_eq!(terms.len(), 1);
    close(named(&terms, "flow")?, want);
    // There is nothing to train but the student's stages.
    assert!(pair.adapters().is_empty());
    let pulled = pair.pulled(&terms)?;
    assert!(pulled.contains("conv1.weight") && pulled.contains("layer3.0.conv2.weight"));
    assert!(!pulled.iter().any(|name| name.starts_with("fc.")), "{pulled:?}");
    Ok(())
}

#[test]
fn it_joins_the_labels_and_softened_targets() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet14")?;
    let joined = "kind = 'fsp'\nweight = 50.0\nhard-weight = 1.0\nsoft = { temperature = 4.0, weight = 0.5 }";
    let terms = pair.step(&*pair.method(joined)?, &[0, 1, 2, 5], 0, |_| Ok(()))?;
    let weights: Vec<_> = terms.iter().map(|term| (term.name, term.weight)).collect();
    assert_eq!(weights, [("hard", 1.), ("soft", 0.5), ("flow", 50.)]);
    assert!(pair.pulled(&terms)?.contains("fc.weight"));
    Ok(())
}

#[test]
fn unequal_channels_are_an_error_of_one_line_before_training() -> Result<()> {
    let pair = Pair::new("wrn-16-1", "wrn-16-2")?;
    let expected = "fsp: expected a student with the teacher's channels [16, 32, 64, 128] of stem and stages, got [16, 16, 32, 64]";
    assert_eq!(pair.refused(FSP), expected);
    Ok(())
}
