//! The loss against a memory of embeddings: kernel and twin, laws, threads and bad input.

use crate::common::{assert_close, bits, flat, laid_out, value_and_grad};
use candle_core::{DType, Device, Result, Tensor, Var};
use kd_kernels::noise_contrast::{EPSILON, Pairs, Picks, noise_contrast, normaliser, reference};
use kd_kernels::stream::Stream;
use proptest::prelude::*;

/// Rows of normals, each of length 1.
fn unit_rows(seed: u64, rows: usize, width: usize) -> Tensor {
    let mut values = vec![0f32; rows * width];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    let x = Tensor::from_vec(values, (rows, width), &Device::Cpu).unwrap();
    x.broadcast_div(&x.sqr().unwrap().sum_keepdim(1).unwrap().sqrt().unwrap()).unwrap()
}

/// The first m of a permutation of the n rows for each anchor, and any row as its positive.
fn pairs(seed: u64, b: usize, n: usize, m: usize) -> (Vec<u32>, Picks) {
    let negatives: Vec<Vec<u32>> = (0..b)
        .map(|i| {
            Stream::new(seed, 2 + i as u64).permutation(n)[..m].iter().map(|&j| j as u32).collect()
        })
        .collect();
    let positives = (0..b as u64).map(|i| Stream::new(seed, 0).below(i, n as u64) as u32).collect();
    (positives, Picks::new(n, &negatives).unwrap())
}

fn f64_of(t: &Tensor) -> Tensor {
    t.to_dtype(DType::F64).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn kernel_and_twin_agree(seed: u64, b in 1usize..9, d in 1usize..40, n in 2usize..1500, share in 0.01f64..1.0, how in 0usize..16, t in 0.05f64..2.0) {
        let m = ((n as f64 * share) as usize).max(1);
        let (anchors, memory) = (unit_rows(seed, b, d), unit_rows(seed ^ 1, n, d));
        let (positives, negatives) = pairs(seed, b, n, m);
        let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: t };
        let strided = laid_out(&memory, how / 4);
        let z = normaliser(&laid_out(&anchors, how % 4), &strided, &pairs).unwrap();
        let want_z = reference::normaliser(&f64_of(&anchors), &f64_of(&memory), &pairs).unwrap();
        prop_assert!((z - want_z).abs() < 1e-5 * want_z, "{z} {want_z}");
        let (y, grad) = value_and_grad(&anchors, None, |a| noise_contrast(&laid_out(a, how % 4), &strided, &pairs, z));
        let (want, want_grad) = value_and_grad(&f64_of(&anchors), None, |a| noise_contrast(a, &f64_of(&memory), &pairs, z));
        // The twin, where it runs in f32, rounds 1 + P·n/m, and sums m such terms.
        let rounding = if kd_kernels::kernels_enabled() { 1e-5 } else { 1e-6 * m as f64 };
        assert_close(&flat(&y), &flat(&want), rounding, 3e-6, "value");
        let size = flat(&want_grad).iter().fold(1.0f64, |s, g| s.max(g.abs()));
        assert_close(&flat(&grad), &flat(&want_grad), 1e-5 * size, 1e-4, "gradient");
    }
}

#[test]
fn it_is_the_formula_written_out() -> Result<()> {
    let (b, n, m, d, t, z) = (3, 11, 4, 5, 0.5, 20.0);
    let (anchors, memory) = (unit_rows(1, b, d), unit_rows(2, n, d));
    let (positives, negatives) = pairs(3, b, n, m);
    let (a, w) = (flat(&anchors), flat(&memory));
    let density = |i: usize, j: usize| {
        ((0..d).map(|k| a[i * d + k] * w[j * d + k]).sum::<f64>() / t).exp() / z
    };
    let noise = m as f64 / n as f64;
    let mut want = 0.0;
    for (i, positive) in positives.iter().enumerate() {
        let p = density(i, *positive as usize);
        want -= (p / (p + noise + EPSILON)).ln();
        want -=
            negatives.row(i).map(|j| (noise / (density(i, j) + noise + EPSILON)).ln()).sum::<f64>();
    }
    let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: t };
    assert_close(
        &flat(&noise_contrast(&anchors, &memory, &pairs, z)?),
        &[want / b as f64],
        0.0,
        1e-6,
        "loss",
    );
    assert_close(
        &flat(&noise_contrast(&f64_of(&anchors), &f64_of(&memory), &pairs, z)?),
        &[want / b as f64],
        0.0,
        1e-7,
        "twin",
    );
    Ok(())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (b, n, m, d) = (5, 9001, 2000, 24);
    let (anchors, memory) = (unit_rows(1, b, d), unit_rows(2, n, d));
    let (positives, negatives) = pairs(3, b, n, m);
    let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: 0.07 };
    let run = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
            let z = normaliser(&anchors, &memory, &pairs).unwrap();
            let (y, grad) =
                value_and_grad(&anchors, None, |a| noise_contrast(a, &memory, &pairs, z));
            (z.to_bits(), bits(&y), bits(&grad))
        })
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(run(threads) == one, "{threads} threads differ from one");
    }
    let z = f64::from_bits(one.0);
    assert_eq!(
        bits(&noise_contrast(&anchors, &memory, &pairs, z).unwrap()),
        one.1,
        "without a graph"
    );
}

#[test]
fn what_is_not_finite_shows_in_the_loss_and_large_densities_do_not_overflow_it() -> Result<()> {
    let (positives, negatives) = pairs(3, 1, 600, 500);
    let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: 1.0 };
    let memory = Tensor::ones((600, 2), DType::F32, &Device::Cpu)?;
    let loss = |a: f32| {
        noise_contrast(&Tensor::new(&[[a, 0f32]], &Device::Cpu)?, &memory, &pairs, 1.0)?
            .to_scalar::<f32>()
    };
    assert!((loss(80.)? - 500. * (80. - (5f32 / 6.).ln())).abs() < 1., "{}", loss(80.)?);
    assert!(!loss(100.)?.is_finite() && loss(f32::NAN)?.is_nan());
    Ok(())
}

#[test]
fn neither_the_memory_nor_its_graph_gets_a_gradient() -> Result<()> {
    let (anchors, memory) =
        (Var::from_tensor(&unit_rows(1, 2, 3))?, Var::from_tensor(&unit_rows(2, 9, 3))?);
    let (positives, negatives) = pairs(3, 2, 9, 4);
    let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: 0.07 };
    for dtype in [DType::F32, DType::F64] {
        let loss =
            noise_contrast(&anchors.to_dtype(dtype)?, &memory.to_dtype(dtype)?, &pairs, 10.0)?;
        let gradients = kd_kernels::backward(&loss)?;
        assert!(gradients.get(&anchors).is_some() && gradients.get(&memory).is_none());
    }
    Ok(())
}

#[test]
fn picks_hold_what_was_put_in() -> Result<()> {
    let mut picks = Picks::none(2, 130);
    let mut rows = picks.rows_mut();
    assert!(
        rows[1].insert(129) && rows[1].insert(0) && !rows[1].insert(129) && !rows[1].insert(130)
    );
    drop(rows);
    assert_eq!((picks.count(0), picks.count(1), picks.count(2)), (0, 2, 0));
    assert_eq!(picks.row(1).collect::<Vec<_>>(), [0, 129]);
    assert!(picks.contains(1, 129) && !picks.contains(0, 129) && !picks.contains(1, 130));
    assert_eq!(picks, Picks::new(130, &[&[][..], &[129, 0]])?);
    assert_eq!(flat(&picks.mask(&Device::Cpu)?).iter().sum::<f64>(), 2.0);
    Ok(())
}

#[track_caller]
fn refused<T>(result: Result<T>, message: &str) {
    let error = result.err().map(|error| error.to_string()).unwrap_or_default();
    assert_eq!(error.lines().next().unwrap_or_default(), message);
}

#[test]
fn pairs_that_do_not_fit_are_refused() {
    refused(Picks::new(5, &[[0u32, 5]]), "picks: column 5 of row 0 is out of range for 5 columns");
    refused(Picks::new(5, &[[1u32, 0], [2, 2]]), "picks: column 2 stands twice in row 1");
    let (anchors, memory) = (unit_rows(1, 2, 3), unit_rows(2, 9, 3));
    let picks = Picks::new(9, &[[1u32, 2], [3, 4]]).unwrap();
    let call =
        |anchors: &Tensor, positives: &[u32], negatives: &Picks, temperature: f64, z: f64| {
            noise_contrast(anchors, &memory, &Pairs { positives, negatives, temperature }, z)
        };
    let at = "noise_contrast: ";
    let wide = unit_rows(1, 2, 4);
    let shapes =
        "expected anchors [b, d] and a memory [n, d] with b, d >= 1, got [2, 4] and [9, 3]";
    refused(call(&wide, &[0, 1], &picks, 1., 1.), &format!("{at}{shapes}"));
    let fewer = "2 anchors and a memory of 9, but 1 positives and negatives of 2 x 9";
    refused(call(&anchors, &[0], &picks, 1., 1.), &format!("{at}{fewer}"));
    refused(
        call(&anchors, &[0, 9], &picks, 1., 1.),
        &format!("{at}positive 9 at index 1 is out of range for a memory of 9"),
    );
    let uneven = Picks::new(9, &[&[1u32, 2][..], &[3]]).unwrap();
    let counts = "expected as many negatives for each anchor, at least 1, got 2 for the first and 1 for anchor 1";
    refused(call(&anchors, &[0, 1], &uneven, 1., 1.), &format!("{at}{counts}"));
    refused(
        call(&anchors, &[0, 1], &picks, 0., 1.),
        &format!("{at}expected a finite temperature above 0, got 0"),
    );
    refused(
        call(&anchors, &[0, 1], &picks, 1., -1.),
        &format!("{at}expected a finite normaliser above 0, got -1"),
    );
    let other = Pairs { positives: &[0, 1], negatives: &picks, temperature: 1. };
    let types = "expected anchors and memory of one type, f32 or f64, got F32 and F64";
    refused(noise_contrast(&anchors, &f64_of(&memory), &other, 1.), &format!("{at}{types}"));
}
