//! 3×3 convolution of stride 1 at both precisions: against its twin in f64, against itself on parts
//! of a batch, on any number of threads.

use crate::common::{bits, flat};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::conv2d::{Geometry, Precision, conv2d, reference};
use kd_kernels::stream::Stream;
use proptest::prelude::*;

const GEOMETRY: Geometry = Geometry { stride: 1, padding: 1, groups: 1 };

fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// x, w, b and the gradient of y for `[n, cin, h, w]` and `cout` outputs.
fn operands(seed: u64, [n, cin, cout, h, w]: [usize; 5]) -> [Tensor; 4] {
    [
        random(seed, &[n, cin, h, w]),
        random(seed ^ 1, &[cout, cin, 3, 3]),
        random(seed ^ 2, &[cout]),
        random(seed ^ 3, &[n, cout, h, w]),
    ]
}

/// y, and the gradients of Σ g ⊙ y with respect to x, w and b; without a precision by the twin in
/// f64.
fn passes([x, w, b, g]: &[Tensor; 4], precision: Option<Precision>) -> Vec<Tensor> {
    let dtype = if precision.is_none() { DType::F64 } else { DType::F32 };
    let var = |t: &Tensor| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap();
    let (x, w, b) = (var(x), var(w), var(b));
    let y = match precision {
        Some(precision) => conv2d(&x, &w, Some(&b), GEOMETRY, precision),
        None => reference::conv2d(&x, &w, Some(&b), GEOMETRY),
    };
    let y = y.unwrap();
    let loss = (&y * g.to_dtype(dtype).unwrap()).unwrap().sum_all().unwrap();
    let grads = kd_kernels::backward(&loss).unwrap();
    let mut all = vec![y];
    all.extend([&x, &w, &b].into_iter().map(|v| grads.get(v).unwrap().clone()));
    all
}

/// The largest difference relative to the largest value of `want`.
fn distance(got: &Tensor, want: &Tensor) -> f64 {
    distance_of(got, want, 1e-30)
}

/// [`distance`], with values taken to be of size `least` at least.
fn distance_of(got: &Tensor, want: &Tensor, least: f64) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let size = want.iter().fold(least, |m, v| m.max(v.abs()));
    got.iter()
        .zip(&want)
        .map(|(g, w)| if g.is_nan() { f64::INFINITY } else { (g - w).abs() / size })
        .fold(0.0, f64::max)
}

/// What is off by more than the precision allows, if anything.
fn off(operands: &[Tensor; 4], precision: Precision) -> Option<String> {
    let (got, want) = (passes(operands, Some(precision)), passes(operands, None));
    let most = match precision {
        // Candle adds up a bias' gradient in one chain.
        _ if !kd_kernels::kernels_enabled() => [2e-5; 4],
        Precision::Precise => [2e-6, 2e-6, 2e-6, 2e-6],
        Precision::Fast => [1e-5, 1e-5, 2e-5, 2e-6],
    };
    // Normal numbers: a gradient is of the size of the root of its terms, even where the few there
    // are happen to be near 0.
    let terms = (operands[3].elem_count() / operands[2].elem_count()) as f64;
    let least = [1.0, 1.0, terms.sqrt(), terms.sqrt()];
    let all = ["y", "dx", "dw", "db"].into_iter().zip(got.iter().zip(&want)).zip(least).zip(most);
    let mut errors =
        all.map(|(((what, (got, want)), least), most)| (what, distance_of(got, want, least), most));
    errors
        .find(|(_, error, most)| error > most)
        .map(|(what, error, _)| format!("{precision:?}: {what} is off by {error:e}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_shape_agrees_with_the_twin(
        seed: u64, n in 1usize..12, cin in 1usize..40, cout in 1usize..40, h in 1usize..20,
        w in prop_oneof![1usize..20, Just(32), Just(33), Just(64), Just(65)], fast: bool,
    ) {
        let precision = if fast { Precision::Fast } else { Precision::Precise };
        prop_assert_eq!(off(&operands(seed, [n, cin, cout, h, w]), precision), None);
    }
}

#[test]
fn layers_of_networks_agree_with_the_twin() {
    for shape in [
        [8, 16, 16, 32, 32],
        [8, 32, 32, 16, 16],
        [8, 64, 64, 8, 8],
        [4, 128, 96, 8, 8],
        [16, 256, 256, 4, 4],
        [20, 128, 256, 2, 2],
    ] {
        let operands = operands(5, shape);
        for precision in [Precision::Precise, Precision::Fast] {
            assert_eq!(off(&operands, precision), None, "{shape:?}");
        }
    }
}

#[test]
fn a_batch_is_its_parts() {
    // Enough tiles for several groups of a task, and for several runs of all threads.
    for shape @ [n, ..] in [[48, 16, 24, 32, 32], [132, 96, 96, 8, 8]] {
        let [x, w, b, g] = operands(7, shape);
        for precision in [Precision::Precise, Precision::Fast] {
            let whole = passes(&[x.clone(), w.clone(), b.clone(), g.clone()], Some(precision));
            let mut sum = w.zeros_like().unwrap();
            for i in (0..n).step_by(n / 4) {
                let part = |t: &Tensor| t.narrow(0, i, n / 4).unwrap();
                let parts = passes(&[part(&x), w.clone(), b.clone(), part(&g)], Some(precision));
                assert_eq!(bits(&parts[0]), bits(&part(&whole[0])), "y from image {i} on");
                assert_eq!(bits(&parts[1]), bits(&part(&whole[1])), "dx from image {i} on");
                sum = (sum + &parts[2]).unwrap();
            }
            assert!(
                distance(&whole[2], &sum) < 2e-5,
                "{shape:?}: dw is off by {:e}",
                distance(&whole[2], &sum)
            );
        }
    }
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    for shape in [[9, 16, 24, 32, 32], [17, 9, 3, 7, 9], [40, 96, 128, 8, 8]] {
        let operands = operands(9, shape);
        for precision in [Precision::Precise, Precision::Fast] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    passes(&operands, Some(precision)).iter().map(bits).collect::<Vec<_>>()
                })
            };
            let one = run(1);
            for threads in [2, 3] {
                assert!(
                    run(threads) == one,
                    "{shape:?}, {precision:?}: {threads} threads differ from one"
                );
            }
        }
    }
}

#[test]
fn gradients_are_adjoint_to_the_forward_pass() {
    let dot = |a: &Tensor, b: &Tensor| flat(a).iter().zip(flat(b)).map(|(a, b)| a * b).sum::<f64>();
    for shape in [[6, 16, 32, 16, 16], [13, 9, 9, 10, 5], [24, 128, 64, 8, 8]] {
        let [x, w, b, g] = operands(11, shape);
        let b = b.zeros_like().unwrap();
        for precision in [Precision::Precise, Precision::Fast] {
            let all = passes(&[x.clone(), w.clone(), b.clone(), g.clone()], Some(precision));
            let size = (dot(&all[0], &all[0]) * dot(&g, &g)).sqrt();
            let forward = dot(&all[0], &g);
            assert!(forward.abs() > 1e-4 * size, "{shape:?}: a sum of nothing");
            for (what, other) in [("dx", dot(&x, &all[1])), ("dw", dot(&w, &all[2]))] {
                assert!(
                    (forward - other).abs() < 1e-6 * size,
                    "{shape:?}, {precision:?}, {what}: {forward} and {other}, of {size}"
                );
            }
        }
    }
}

#[test]
fn not_a_number_stays_within_its_tiles_and_reaches_the_gradients() {
    let [x, w, b, g] = operands(13, [16, 3, 4, 8, 8]);
    let mut values = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values[0] = f32::NAN;
    let x = Tensor::from_vec(values, x.dims(), &Device::Cpu).unwrap();
    let all = passes(&[x, w, b, g], Some(Precision::Fast));
    let y = flat(&all[0]);
    assert!(y[0].is_nan());
    assert!(y[4 * 64..].iter().all(|v| v.is_finite()), "the other images have no part in it");
    assert!(flat(&all[2])[4].is_nan(), "the middle of the kernel meets the first pixel");
}

#[test]
fn precisions_side_by_side_do_not_change_each_other() {
    let operands = operands(15, [8, 16, 16, 16, 16]);
    let alone = [Precision::Precise, Precision::Fast]
        .map(|precision| passes(&operands, Some(precision)).iter().map(bits).collect::<Vec<_>>());
    assert_eq!(
        alone[0] != alone[1],
        kd_kernels::kernels_enabled(),
        "the kernels have two precisions, the twin has one"
    );
    let [x, w, b, g] = &operands;
    let vars = || [x, w, b].map(|t| Var::from_tensor(t).unwrap());
    let (precise, fast) = (vars(), vars());
    // Both are recorded before either is walked.
    let y = |[x, w, b]: &[Var; 3], precision| conv2d(x, w, Some(b), GEOMETRY, precision).unwrap();
    let (y_fast, y_precise) = (y(&fast, Precision::Fast), y(&precise, Precision::Precise));
    let loss = |y: &Tensor| (y * g).unwrap().sum_all().unwrap();
    let grads = kd_kernels::backward(&(loss(&y_precise) + loss(&y_fast)).unwrap()).unwrap();
    for (y, vars, alone) in [(&y_precise, &precise, &alone[0]), (&y_fast, &fast, &alone[1])] {
        let beside: Vec<_> = std::iter::once(bits(y))
            .chain(vars.iter().map(|v| bits(grads.get(v).unwrap())))
            .collect();
        assert!(beside == *alone);
    }
}
