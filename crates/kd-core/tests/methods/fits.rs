//! What does not fit is refused before anything is trained, in one line.

use candle_core::Device;
use kd_core::method::{
    Context, MethodSpec, Recipe, Soft, at, cat_kd, cc, dkd, itrd, nst, rkd, sdd, vid,
};
use kd_core::params::Params;
use kd_core::{Result, Seed};

use super::{Pair, on_logits, specs, wkd};

/// The methods on features and those on logits alone.
fn all() -> Vec<MethodSpec> {
    [specs(), on_logits::specs(), wkd::specs(), vec![on_logits::spec(on_logits::SKD)]].concat()
}

/// The error of building this method for the pair.
fn refusal(pair: &Pair, spec: &MethodSpec) -> String {
    let Err(error) = pair.build(spec) else { panic!("{spec:?} was built") };
    assert!(error.is_bad_input(), "{error}");
    error.to_string()
}

#[test]
fn networks_of_different_numbers_of_stages_are_refused_by_methods_that_pair_them() -> Result<()> {
    let pair = Pair::new("resnet8", "vgg8")?;
    for spec in specs() {
        match spec {
            MethodSpec::At(_) | MethodSpec::Nst(_) | MethodSpec::Vid(_) => {
                let error = refusal(&pair, &spec);
                assert!(error.ends_with(": expected a student and a teacher of as many stages, at least 1, got 3 and 4"), "{error}");
            }
            _ => assert!(pair.build(&spec).is_ok(), "{spec:?}"),
        }
    }
    Ok(())
}

#[test]
fn pairs_of_the_benchmark_fit() -> Result<()> {
    for (student, teacher) in [
        ("resnet8", "wrn-16-2"),
        ("shufflenet-v2", "resnet8x4"),
        ("mobilenet-v2", "vgg13"),
        ("vgg8", "resnet50"),
    ] {
        let pair = Pair::new(student, teacher)?;
        for spec in all() {
            pair.build(&spec)?;
        }
    }
    Ok(())
}

#[test]
fn a_method_without_a_teacher_is_refused() -> Result<()> {
    let pair = Pair::new("resnet8", "resnet8")?;
    let (params, vb) = Params::seeded(Seed(0), &Device::Cpu);
    for spec in all() {
        let Err(error) = spec.build(&Context::new(&*pair.student, None, &[], &params, &vb)) else {
            panic!("{spec:?} was built")
        };
        assert!(error.is_bad_input() && spec.needs_teacher(), "{error}");
        assert_eq!(error.to_string(), "method: this one needs a teacher, and there is none");
    }
    Ok(())
}

#[test]
fn hyper_parameters_outside_their_domain_are_refused_by_name() {
    let (hard_weight, soft) = (1., None);
    let nan = f64::NAN;
    let dkd = |temperature, alpha, beta| dkd::Spec {
        temperature,
        alpha,
        beta,
        warm_up_epochs: 20,
        hard_weight,
        soft,
        standardised: false,
    };
    let vid = |variance, least_variance| vid::Spec {
        weight: 1.,
        variance,
        least_variance,
        hard_weight,
        soft,
    };
    let itrd = |correlation_weight, mutual_weight, alpha| itrd::Spec {
        correlation_weight,
        mutual_weight,
        alpha,
        hard_weight,
        soft,
    };
    let sdd = |grids: &[usize], complementary_weight, base| sdd::Spec {
        grids: grids.to_vec(),
        complementary_weight,
        base,
        hard_weight,
        soft,
    };
    let kd = |temperature, weight| sdd::Base::Kd { temperature, weight };
    let in_cells =
        |alpha, beta| sdd::Base::Dkd { temperature: 4., alpha, beta, warm_up_epochs: 20 };
    let cat_kd = |weight, side| cat_kd::Spec {
        weight,
        side,
        normalised: false,
        bias: cat_kd::Bias::Kept,
        hard_weight,
        soft,
    };
    let cases: Vec<(MethodSpec, &str)> = vec![
        (cat_kd(nan, 2).into(), "method.weight: "),
        (cat_kd(1., 0).into(), "method.side: "),
        (sdd(&[], 2., kd(4., 1.)).into(), "method.grids: "),
        (sdd(&[2, 4], 2., kd(4., 1.)).into(), "method.grids: "),
        (sdd(&[1, 1], 2., kd(4., 1.)).into(), "method.grids: "),
        (sdd(&[1, 33], 2., kd(4., 1.)).into(), "method.grids: "),
        (sdd(&[1, 2], nan, kd(4., 1.)).into(), "method.complementary-weight: "),
        (sdd(&[1, 2], 2., kd(0., 1.)).into(), "temperature"),
        (sdd(&[1, 2], 2., kd(4., -1.)).into(), "method.base.weight: "),
        (sdd(&[1, 2], 2., in_cells(nan, 1.)).into(), "method.base.alpha: "),
        (sdd(&[1, 2], 2., in_cells(1., -1.)).into(), "method.base.beta: "),
        (itrd(nan, 1., 1.).into(), "method.correlation-weight: "),
        (itrd(1., -1., 1.).into(), "method.mutual-weight: "),
        (itrd(1., 1., 0.).into(), "method.alpha: "),
        (itrd(1., 1., nan).into(), "method.alpha: "),
        (at::Spec { weight: -1., hard_weight, soft }.into(), "method.weight: "),
        (at::Spec { weight: 1., hard_weight: nan, soft }.into(), "method.hard-weight: "),
        (
            nst::Spec { weight: 1., hard_weight, soft: Some(Soft { temperature: 0., weight: 1. }) }
                .into(),
            "temperature",
        ),
        (
            rkd::Spec { distance_weight: nan, angle_weight: 1., hard_weight, soft }.into(),
            "method.distance-weight: ",
        ),
        (
            rkd::Spec { distance_weight: 1., angle_weight: -1., hard_weight, soft }.into(),
            "method.angle-weight: ",
        ),
        (cc::Spec { weight: 1., width: 0, hard_weight, soft }.into(), "method.width: "),
        (vid(5., 0.).into(), "method.least-variance"),
        (vid(1e-5, 1e-5).into(), "method.least-variance"),
        (vid(nan, 1e-5).into(), "method.least-variance"),
        (dkd(0., 1., 1.).into(), "temperature"),
        (dkd(4., -1., 1.).into(), "method.alpha: "),
        (dkd(4., 1., f64::INFINITY).into(), "method.beta: "),
    ];
    for (spec, part) in cases {
        let Err(error) = spec.check() else { panic!("{spec:?} was accepted") };
        assert!(error.is_bad_input() && error.to_string().contains(part), "{error}");
    }
    assert!(all().iter().all(|spec| spec.check().is_ok()));
}

#[test]
fn an_experiment_file_names_every_field_and_no_other() {
    let read = |text: &str| toml::from_str::<MethodSpec>(text).map_err(|e| e.to_string());
    let text = "kind = 'at'\nweight = 1000.0\nhard-weight = 1.0\n";
    assert_eq!(read(text), Ok(at::Spec { weight: 1000., hard_weight: 1., soft: None }.into()));
    let joined = format!("{text}soft = {{ temperature = 4.0, weight = 1.0 }}\n");
    let soft = Some(Soft { temperature: 4., weight: 1. });
    assert_eq!(read(&joined), Ok(at::Spec { weight: 1000., hard_weight: 1., soft }.into()));
    for (text, part) in [
        (format!("{text}wait = 1\n"), "wait"),
        ("kind = 'at'\nweight = 1.0\n".into(), "hard-weight"),
    ] {
        let error = read(&text).expect_err("another specification");
        assert!(error.contains(part), "{error}");
    }
    for spec in all() {
        let text = toml::to_string(&spec).expect("TOML");
        assert_eq!(read(&text), Ok(spec), "{text}");
    }
}
