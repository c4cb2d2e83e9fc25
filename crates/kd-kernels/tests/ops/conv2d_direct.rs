//! The convolutions that are not 3x3 without strides, at the public function: against the twin in
//! f64, by finite differences, and on any number of threads.

use crate::common::{bits, conv2d_precise, flat};
use candle_core::{DType, Device, Tensor, Var};
use kd_kernels::conv2d::{Geometry, reference};
use kd_kernels::stream::Stream;
use proptest::prelude::*;

fn random(seed: u64, dims: &[usize]) -> Tensor {
    let mut values = vec![0f32; dims.iter().product()];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    cin: usize,
    cout: usize,
    side: usize,
    kernel: usize,
    geometry: Geometry,
}

impl Case {
    fn operands(&self, seed: u64) -> [Tensor; 3] {
        let Case { n, cin, cout, side, kernel, geometry } = *self;
        [
            random(seed, &[n, cin, side, side]),
            random(seed ^ 1, &[cout, cin / geometry.groups, kernel, kernel]),
            random(seed ^ 2, &[cout]),
        ]
    }
}

type Op = fn(&Tensor, &Tensor, Option<&Tensor>, Geometry) -> candle_core::Result<Tensor>;

/// y, and the gradients of Σ up ⊙ y with respect to x, w and b.
fn passes(op: Op, case: Case, seed: u64, dtype: DType) -> Vec<Tensor> {
    let [x, w, b] =
        case.operands(seed).map(|t| Var::from_tensor(&t.to_dtype(dtype).unwrap()).unwrap());
    let y = op(&x, &w, Some(&b), case.geometry).unwrap();
    let up = random(seed ^ 3, y.dims()).to_dtype(dtype).unwrap();
    let grads = kd_kernels::backward(&(&y * up).unwrap().sum_all().unwrap()).unwrap();
    let mut all = vec![y];
    all.extend([&x, &w, &b].map(|v| grads.get(v).unwrap().clone()));
    all
}

/// The largest difference relative to the largest value of `want`, or to the spread of a sum of
/// `terms` products of standard normal numbers: a gradient of few values can be near 0 by chance.
fn distance(got: &Tensor, want: &Tensor, terms: usize) -> f64 {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (flat(got), flat(want));
    let size = want.iter().fold((terms as f64).sqrt(), |m, v| m.max(v.abs()));
    // `max` passes over NaN.
    got.iter()
        .zip(&want)
        .map(|(g, w)| if g.is_nan() { f64::INFINITY } else { (g - w).abs() / size })
        .fold(0.0, f64::max)
}

fn agrees_with_twin(case: Case, seed: u64) -> Result<(), TestCaseError> {
    let (got, want) = (
        passes(conv2d_precise, case, seed, DType::F32),
        passes(reference::conv2d, case, seed, DType::F64),
    );
    let under = case.cin / case.geometry.groups * case.kernel * case.kernel;
    let pixels = got[0].elem_count() / case.cout;
    for (what, terms, (got, want)) in [("y", under), ("dx", 1), ("dw", pixels), ("db", pixels)]
        .iter()
        .zip(got.iter().zip(&want))
        .map(|((a, b), c)| (a, *b, c))
    {
        prop_assert!(distance(got, want, terms) <= 5e-6, "{what}: {}", distance(got, want, terms));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pointwise_agrees_with_the_twin(
        seed: u64, n in 1usize..20, groups in 1usize..4, cin in 1usize..40, cout in 1usize..40, side in 1usize..10, stride in 1usize..3,
    ) {
        let geometry = Geometry { stride, padding: 0, groups };
        agrees_with_twin(Case { n, cin: cin * groups, cout: cout * groups, side, kernel: 1, geometry }, seed)?;
    }

    #[test]
    fn depthwise_agrees_with_the_twin(
        seed: u64, n in 1usize..10, channels in 1usize..10, side in 1usize..19, kernel in 1usize..6, stride in 1usize..4, padding in 0usize..3,
    ) {
        prop_assume!(side + 2 * padding >= kernel);
        let geometry = Geometry { stride, padding, groups: channels };
        agrees_with_twin(Case { n, cin: channels, cout: channels, side, kernel, geometry }, seed)?;
    }

    #[test]
    fn three_by_three_agrees_with_the_twin(
        seed: u64, n in 1usize..6, cin in 1usize..20, cout in 1usize..40, side in 1usize..34, stride in 1usize..3,
    ) {
        let geometry = Geometry { stride, padding: 1, groups: 1 };
        agrees_with_twin(Case { n, cin, cout, side, kernel: 3, geometry }, seed)?;
    }

    #[test]
    fn larger_kernels_agree_with_the_twin(
        seed: u64, n in 1usize..4, cin in 1usize..6, cout in 1usize..6, side in 7usize..20, kernel in 4usize..8, stride in 1usize..4,
    ) {
        let geometry = Geometry { stride, padding: kernel / 2, groups: 1 };
        agrees_with_twin(Case { n, cin, cout, side, kernel, geometry }, seed)?;
    }
}

/// One shape of each kind.
const KINDS: [Case; 5] = [
    Case {
        n: 3,
        cin: 6,
        cout: 9,
        side: 4,
        kernel: 1,
        geometry: Geometry { stride: 1, padding: 0, groups: 3 },
    },
    Case {
        n: 3,
        cin: 5,
        cout: 6,
        side: 6,
        kernel: 1,
        geometry: Geometry { stride: 2, padding: 0, groups: 1 },
    },
    Case {
        n: 3,
        cin: 4,
        cout: 6,
        side: 8,
        kernel: 3,
        geometry: Geometry { stride: 2, padding: 1, groups: 1 },
    },
    Case {
        n: 3,
        cin: 5,
        cout: 5,
        side: 8,
        kernel: 3,
        geometry: Geometry { stride: 1, padding: 1, groups: 5 },
    },
    Case {
        n: 3,
        cin: 5,
        cout: 5,
        side: 8,
        kernel: 3,
        geometry: Geometry { stride: 2, padding: 1, groups: 5 },
    },
];

/// The loss Σ up ⊙ y in f64 of the kernel's y, which is linear in each operand, so that a
/// difference quotient has no error but rounding.
#[test]
fn gradients_are_difference_quotients() {
    for case in KINDS {
        let operands = case.operands(7);
        let grads = passes(conv2d_precise, case, 7, DType::F32);
        let loss = |[x, w, b]: &[Tensor; 3]| -> f64 {
            let y = conv2d_precise(x, w, Some(b), case.geometry).unwrap();
            flat(&y).iter().zip(flat(&random(7 ^ 3, y.dims()))).map(|(y, up)| y * up).sum()
        };
        for which in 0..3 {
            let grad = flat(&grads[which + 1]);
            let size = grad.iter().fold(0f64, |m, v| m.max(v.abs()));
            for at in (0..grad.len()).step_by(grad.len() / 5 + 1) {
                let moved = |by: f32| {
                    let mut values: Vec<f32> =
                        operands[which].flatten_all().unwrap().to_vec1().unwrap();
                    values[at] += by;
                    let mut operands = operands.clone();
                    operands[which] =
                        Tensor::from_vec(values, operands[which].shape(), &Device::Cpu).unwrap();
                    loss(&operands)
                };
                let quotient = (moved(0.5) - moved(-0.5)) / 1.0;
                assert!(
                    (quotient - grad[at]).abs() < 1e-4 * size,
                    "operand {which} of {case:?} at {at}: {quotient}, not {}",
                    grad[at]
                );
            }
        }
    }
}

#[test]
fn results_are_the_same_bits_on_any_number_of_threads() {
    for case in KINDS {
        let case = Case { n: 70, ..case };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                passes(conv2d_precise, case, 5, DType::F32).iter().map(bits).collect::<Vec<_>>()
            })
        };
        let one = run(1);
        for threads in [2, 3] {
            assert!(run(threads) == one, "{threads} threads differ from one on {case:?}");
        }
    }
}

#[test]
fn a_batch_of_none_has_no_results_and_no_weight_gradient() {
    let case = Case { n: 0, ..KINDS[0] };
    let [x, w, b] = case.operands(1);
    assert_eq!(reference::conv2d(&x, &w, Some(&b), case.geometry).unwrap().dims(), [0, 9, 4, 4]);
    assert_eq!(conv2d_precise(&x, &w, Some(&b), case.geometry).unwrap().dims(), [0, 9, 4, 4]);
    if !kd_kernels::kernels_enabled() {
        // The twin records no graph.
        return;
    }
    let all = passes(conv2d_precise, case, 1, DType::F32);
    assert_eq!(all[0].dims(), [0, 9, 4, 4]);
    assert!(flat(&all[2]).iter().all(|v| *v == 0.0));
}

#[test]
fn padding_wider_than_the_kernel_agrees_with_the_twin() {
    for (side, kernel, stride, padding) in [(1, 1, 1, 2), (2, 1, 3, 2), (1, 3, 1, 4)] {
        let geometry = Geometry { stride, padding, groups: 2 };
        agrees_with_twin(Case { n: 2, cin: 4, cout: 6, side, kernel, geometry }, 1).unwrap();
        agrees_with_twin(Case { n: 2, cin: 2, cout: 2, side, kernel, geometry }, 1).unwrap();
    }
}
