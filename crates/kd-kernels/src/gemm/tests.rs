use super::*;
use proptest::prelude::*;

/// Values in [-1, 1), the same for the same seed.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// The order of an operand in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    RowMajor,
    ColumnMajor,
    Padded,
    Sparse,
}

fn layout() -> impl Strategy<Value = Layout> {
    prop::sample::select(vec![
        Layout::RowMajor,
        Layout::ColumnMajor,
        Layout::Padded,
        Layout::Sparse,
    ])
}

fn strides(layout: Layout, rows: usize, cols: usize) -> (usize, usize) {
    match layout {
        Layout::RowMajor => (cols, 1),
        Layout::ColumnMajor => (1, rows),
        Layout::Padded => (cols + 3, 1),
        Layout::Sparse => (2 * cols + 1, 2),
    }
}

/// The product in f64, and the sum of magnitudes that bounds the rounding error.
fn exact(a: MatRef, b: MatRef, i: usize, j: usize) -> (f64, f64) {
    (0..a.cols).fold((0.0, 0.0), |(sum, size), k| {
        let x = a.data[i * a.row_stride + k * a.col_stride] as f64
            * b.data[k * b.row_stride + j * b.col_stride] as f64;
        (sum + x, size + x.abs())
    })
}

fn assert_product(a: MatRef, b: MatRef, bias: Option<&[f32]>, relu: bool, c: &[f32]) {
    for i in 0..a.rows {
        for j in 0..b.cols {
            let (mut want, size) = exact(a, b, i, j);
            want += bias.map_or(0.0, |b| b[j] as f64);
            if relu {
                want = want.max(0.0)
            }
            let got = c[i * b.cols + j] as f64;
            let slack = 1e-6 * (a.cols as f64).sqrt().max(1.0) * (size + 1.0);
            assert!(
                (got - want).abs() <= slack,
                "({i}, {j}): got {got}, expected {want} within {slack}"
            );
        }
    }
}

/// An implementation of the product.
type Path = unsafe fn(MatRef, MatRef, Epilogue, bool, *mut f32);

/// The implementations in `f32` that this machine can run, by name: each is another one.
fn paths() -> Vec<(&'static str, Path)> {
    let mut all: Vec<(&str, Path)> = vec![("portable", portable::gemm)];
    #[cfg(target_arch = "x86_64")]
    if crate::level::Level::available().any(|level| level == Level::Avx512) {
        all.push(("avx512", avx512::gemm));
    }
    all
}

/// The implementations with bfloat16 operands that this machine can run and the switch allows.
fn paths_of_bfloat16() -> Vec<(&'static str, Path)> {
    let mut all: Vec<(&str, Path)> = vec![("rounded", rounded::gemm)];
    #[cfg(target_arch = "x86_64")]
    if crate::level::amx() {
        all.push(("amx", amx::gemm));
    }
    all
}

/// The product on each path, the last of which must be what [`gemm()`] takes where the switch
/// leaves all to the processor.
fn products(
    paths: &[(&'static str, Path)],
    a: MatRef,
    b: MatRef,
    epilogue: Epilogue,
) -> Vec<Vec<f32>> {
    let product = |(_, path): &(&str, Path)| {
        let mut c = vec![f32::NAN; a.rows * b.cols];
        // SAFETY: the sizes fit, and the machine can run the path.
        unsafe { path(a, b, epilogue, false, c.as_mut_ptr()) };
        c
    };
    paths.iter().map(product).collect()
}

fn on_each_path(a: MatRef, b: MatRef, epilogue: Epilogue) -> Vec<Vec<f32>> {
    products(&paths(), a, b, epilogue)
}

#[test]
fn the_product_takes_the_path_that_the_switch_and_the_processor_name() {
    use crate::switch::{Kernels, kernels};
    let bits = |c: Vec<f32>| c.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    // Long sums, so that two orders of adding give different bits.
    let (da, db) = (values(20 * 5000, 1), values(5000 * 40, 2));
    let (a, b) =
        (MatRef::row_major(&da, 20, 5000).unwrap(), MatRef::row_major(&db, 5000, 40).unwrap());
    let limited = matches!(kernels().unwrap(), Kernels::Portable | Kernels::Avx2);
    for (precision, paths) in
        [(Precision::Float32, paths()), (Precision::Bfloat16, paths_of_bfloat16())]
    {
        let products: Vec<_> =
            products(&paths, a, b, Epilogue::Identity).into_iter().map(bits).collect();
        let taken = if limited { 0 } else { paths.len() - 1 };
        let got = bits(gemm(a, b, Epilogue::Identity, precision).unwrap());
        for (i, (product, (name, _))) in products.iter().zip(&paths).enumerate() {
            assert_eq!(*product == got, i == taken, "{precision:?}: {name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn product_of_any_shape_and_stride_is_right(
        m in prop::sample::select(vec![1usize, 2, 5, 13, 14, 15, 28, 29, 43]),
        n in prop::sample::select(vec![1usize, 10, 15, 16, 17, 31, 32, 33, 64, 100, 130]),
        k in prop::sample::select(vec![0usize, 1, 2, 3, 4, 7, 16, 19, 64, 101]),
        la in layout(), lb in layout(), with_bias: bool, relu: bool, seed: u64,
    ) {
        let (sa, sb) = (strides(la, m, k), strides(lb, k, n));
        let da = values((m + 1) * (k + 1) * 2 + 3 * m, seed);
        let db = values((k + 1) * (n + 1) * 2 + 3 * k, seed ^ 7);
        let bias = values(n, seed ^ 11);
        let a = MatRef::new(&da, m, k, sa.0, sa.1).unwrap();
        let b = MatRef::new(&db, k, n, sb.0, sb.1).unwrap();
        let epilogue = match (with_bias, relu) {
            (false, false) => Epilogue::Identity,
            (false, true) => Epilogue::Relu,
            (true, false) => Epilogue::Bias(&bias),
            (true, true) => Epilogue::BiasRelu(&bias),
        };
        for c in on_each_path(a, b, epilogue) {
            assert_product(a, b, with_bias.then_some(&bias[..]), relu, &c);
        }
    }
}

/// Every order of work, on one, two and three threads: shapes that pack A once, that pack B once,
/// that run serially, and whose sums are split.
#[test]
fn result_is_bitwise_the_same_on_any_number_of_threads() {
    for (m, k, n) in [
        (100, 784, 1200),
        (1000, 784, 130),
        (100, 1200, 10),
        (600, 3000, 40),
        (20, 9000, 70),
        (7, 50, 64),
    ] {
        let (da, db, bias) = (values(m * k, 1), values(k * n, 2), values(n, 3));
        let a = MatRef::row_major(&da, m, k).unwrap();
        let b = MatRef::row_major(&db, n, k).unwrap().t();
        let runs: Vec<Vec<Vec<u32>>> = [1, 2, 3]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let out = pool.install(|| on_each_path(a, b, Epilogue::BiasRelu(&bias)));
                out.iter().map(|c| c.iter().map(|x| x.to_bits()).collect()).collect()
            })
            .collect();
        assert!(
            runs[0] == runs[1] && runs[0] == runs[2],
            "{m}x{k}x{n} differs between thread counts"
        );
    }
}

#[test]
fn long_sums_are_split_without_changing_them() {
    let (m, k, n) = (5, 9001, 33);
    let (da, db, bias) = (values(m * k, 1), values(k * n, 2), values(n, 3));
    let (a, b) = (MatRef::row_major(&da, m, k).unwrap(), MatRef::row_major(&db, k, n).unwrap());
    for c in on_each_path(a, b, Epilogue::BiasRelu(&bias)) {
        assert_product(a, b, Some(&bias), true, &c);
    }
}

#[test]
fn rows_and_columns_of_stride_zero_are_repeated() {
    let da = values(50, 1);
    let db = values(50, 2);
    let a = MatRef::new(&da, 20, 50, 0, 1).unwrap();
    let b = MatRef::new(&db, 50, 40, 1, 0).unwrap();
    for c in on_each_path(a, b, Epilogue::Identity) {
        assert_product(a, b, None, false, &c);
    }
}

#[test]
fn nan_survives_relu() {
    let a = [f32::NAN, 1.0];
    let b = [1.0, 1.0];
    let (a, b) = (MatRef::row_major(&a, 2, 1).unwrap(), MatRef::row_major(&b, 1, 2).unwrap());
    for c in on_each_path(a, b, Epilogue::Relu) {
        assert!(c[0].is_nan() && c[1].is_nan());
        assert_eq!(c[2..], [1.0, 1.0]);
    }
}

#[test]
fn empty_sides_give_an_empty_result() {
    let empty = MatRef::row_major(&[], 0, 5).unwrap();
    let b = values(15, 1);
    let b = MatRef::row_major(&b, 5, 3).unwrap();
    assert!(gemm(empty, b, Epilogue::Identity, Precision::Float32).unwrap().is_empty());
    assert!(gemm(b.t(), empty.t(), Epilogue::Identity, Precision::Float32).unwrap().is_empty());
}

#[test]
fn wrong_sizes_are_errors_that_say_which() {
    let x = values(12, 1);
    let a = MatRef::row_major(&x, 3, 4).unwrap();
    let message = |r: Result<Vec<f32>>| r.unwrap_err().to_string();
    assert!(message(gemm(a, a, Epilogue::Identity, Precision::Float32)).contains("3x4 times 3x4"));
    assert!(
        message(gemm(a, a.t(), Epilogue::Bias(&x), Precision::Float32))
            .contains("12 values, expected 3")
    );
    assert!(
        gemm_into(a, a.t(), Epilogue::Identity, Precision::Float32, &mut [0.0; 8])
            .unwrap_err()
            .to_string()
            .contains("expected 3x3")
    );
    assert!(
        MatRef::new(&x, 3, 4, 5, 1)
            .unwrap_err()
            .to_string()
            .contains("does not fit in 12 elements")
    );
    assert!(MatRef::new(&x, 2, 2, usize::MAX, 1).is_err());
}

#[test]
fn a_product_with_more_elements_than_memory_is_an_error() {
    let one = [1.0];
    for (rows, cols) in [(1 << 40, 1 << 40), (1 << 32, 1 << 32), (1 << 31, 1 << 31)] {
        let (a, b) =
            (MatRef::new(&one, rows, 1, 0, 0).unwrap(), MatRef::new(&one, 1, cols, 0, 0).unwrap());
        for precision in [Precision::Float32, Precision::Bfloat16] {
            assert!(
                gemm(a, b, Epilogue::Identity, precision)
                    .unwrap_err()
                    .to_string()
                    .contains("too large")
            );
            assert!(gemm_into(a, b, Epilogue::Identity, precision, &mut []).is_err());
            assert!(gemm_add(a, b, precision, &mut []).is_err());
        }
    }
}

#[test]
fn a_product_is_added_to_what_is_there() {
    for (m, n, k) in [(1, 1, 1), (33, 40, 17), (20, 5, 5000), (3, 4, 0)] {
        let (a, b, before) = (values(m * k, 1), values(k * n, 2), values(m * n, 3));
        let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
        let on_path = |(_, path): &(&str, Path)| {
            let mut sums = before.clone();
            // SAFETY: the sizes fit, the result holds values, and the machine can run the path.
            unsafe { path(a, b, Epilogue::Identity, true, sums.as_mut_ptr()) };
            sums
        };
        let mut added = before.clone();
        gemm_add(a, b, Precision::Float32, &mut added).unwrap();
        for sums in paths().iter().map(on_path).chain([added]) {
            for i in 0..m {
                for j in 0..n {
                    let (sum, size) = exact(a, b, i, j);
                    let want = sum + f64::from(before[i * n + j]);
                    let got = f64::from(sums[i * n + j]);
                    assert!(
                        (got - want).abs() <= 1e-6 * (k as f64).sqrt().max(1.0) * (size + 1.0),
                        "({i}, {j}): got {got}, expected {want}"
                    );
                }
            }
        }
        assert!(gemm_add(a, b, Precision::Float32, &mut vec![0.0; m * n + 1]).is_err());
    }
}

/// The values rounded to bfloat16.
fn rounded(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&x| crate::precision::round_to_bfloat16(x)).collect()
}

fn bfloat16_on_each_path(a: MatRef, b: MatRef, epilogue: Epilogue) -> Vec<Vec<f32>> {
    products(&paths_of_bfloat16(), a, b, epilogue)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn product_in_bfloat16_is_that_of_rounded_operands(
        m in prop::sample::select(vec![1usize, 2, 15, 16, 17, 31, 32, 33, 47, 64, 70]),
        n in prop::sample::select(vec![1usize, 10, 15, 16, 17, 31, 32, 33, 64, 100, 130]),
        k in prop::sample::select(vec![0usize, 1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 101]),
        la in layout(), lb in layout(), with_bias: bool, relu: bool, seed: u64,
    ) {
        let (sa, sb) = (strides(la, m, k), strides(lb, k, n));
        let da = values((m + 1) * (k + 1) * 2 + 3 * m, seed);
        let db = values((k + 1) * (n + 1) * 2 + 3 * k, seed ^ 7);
        let (ra, rb, bias) = (rounded(&da), rounded(&db), values(n, seed ^ 11));
        let a = MatRef::new(&da, m, k, sa.0, sa.1).unwrap();
        let b = MatRef::new(&db, k, n, sb.0, sb.1).unwrap();
        let epilogue = match (with_bias, relu) {
            (false, false) => Epilogue::Identity,
            (false, true) => Epilogue::Relu,
            (true, false) => Epilogue::Bias(&bias),
            (true, true) => Epilogue::BiasRelu(&bias),
        };
        for c in bfloat16_on_each_path(a, b, epilogue) {
            assert_product(MatRef { data: &ra, ..a }, MatRef { data: &rb, ..b }, with_bias.then_some(&bias[..]), relu, &c);
        }
    }
}

#[test]
fn bfloat16_loses_what_does_not_fit_its_bits() {
    let (a, b) = ([1.0f32 + 1.0 / 512.0, 1e-40], [1.0f32, 1e30]);
    let (a, b) = (MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    for c in bfloat16_on_each_path(a, b, Epilogue::Identity) {
        assert_eq!(c, [1.0]);
    }
}

/// Shapes of one block and of many, of several runs of rows, and of sums that are split.
#[test]
fn bfloat16_is_bitwise_the_same_on_any_number_of_threads() {
    for (m, k, n) in [(100, 784, 1200), (1100, 300, 130), (7, 50, 64), (40, 5000, 70)] {
        let (da, db, bias) = (values(m * k, 1), values(k * n, 2), values(n, 3));
        let a = MatRef::row_major(&da, m, k).unwrap();
        let b = MatRef::row_major(&db, n, k).unwrap().t();
        let runs: Vec<Vec<Vec<u32>>> = [1, 2, 3]
            .into_iter()
            .map(|threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let out = pool.install(|| bfloat16_on_each_path(a, b, Epilogue::BiasRelu(&bias)));
                out.iter().map(|c| c.iter().map(|x| x.to_bits()).collect()).collect()
            })
            .collect();
        assert!(
            runs[0] == runs[1] && runs[0] == runs[2],
            "{m}x{k}x{n} differs between thread counts"
        );
    }
}

#[test]
fn a_product_in_bfloat16_is_added_to_what_is_there() {
    for (m, n, k) in [(1, 1, 1), (33, 40, 17), (64, 64, 64), (20, 5, 5000), (3, 4, 0)] {
        let (a, b, before) =
            (rounded(&values(m * k, 1)), rounded(&values(k * n, 2)), values(m * n, 3));
        let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
        let on_path = |(_, path): &(&str, Path)| {
            let mut sums = before.clone();
            // SAFETY: the sizes fit, the result holds values, and the machine can run the path.
            unsafe { path(a, b, Epilogue::Identity, true, sums.as_mut_ptr()) };
            sums
        };
        let mut added = before.clone();
        gemm_add(a, b, Precision::Bfloat16, &mut added).unwrap();
        for sums in paths_of_bfloat16().iter().map(on_path).chain([added]) {
            for i in 0..m {
                for j in 0..n {
                    let (sum, size) = exact(a, b, i, j);
                    let (got, want) =
                        (f64::from(sums[i * n + j]), sum + f64::from(before[i * n + j]));
                    assert!(
                        (got - want).abs() <= 1e-6 * (k as f64).sqrt().max(1.0) * (size + 1.0),
                        "({i}, {j}): got {got}, expected {want}"
                    );
                }
            }
        }
    }
}

#[test]
fn nan_and_infinity_survive_bfloat16() {
    let a = [f32::NAN, f32::INFINITY, 2.0];
    let (a, b) = (MatRef::row_major(&a, 3, 1).unwrap(), MatRef::row_major(&[1.0], 1, 1).unwrap());
    for c in bfloat16_on_each_path(a, b, Epilogue::Relu) {
        assert!(c[0].is_nan());
        assert_eq!(c[1..], [f32::INFINITY, 2.0]);
    }
}
