use kd_kernels::gemm::*;
use std::time::Instant;
fn main() {
    rayon::scope(|_| {
        for (m, k, n) in [
            (100, 784, 1200),
            (100, 1200, 1200),
            (100, 1200, 10),
            (1200, 100, 784),
            (1200, 100, 1200),
            (10, 100, 1200),
            (100, 10, 1200),
            (1000, 784, 1200),
            (2048, 2048, 2048),
        ] {
            let x: Vec<f32> = (0..m * k).map(|i| (i % 17) as f32 - 8.0).collect();
            let y: Vec<f32> = (0..n * k).map(|i| (i % 13) as f32 - 6.0).collect();
            let mut c = vec![0f32; m * n];
            let an = MatRef::row_major(&x, m, k).unwrap();
            let at = MatRef::row_major(&x, k, m).unwrap().t();
            let bn = MatRef::row_major(&y, k, n).unwrap();
            let bt = MatRef::row_major(&y, n, k).unwrap().t();
            if let Some(f) = std::env::args().nth(1) {
                if f != format!("{m}x{k}x{n}") {
                    continue;
                }
            }
            let only = std::env::args().nth(2);
            print!("{m} {k} {n}");
            for (name, a, b) in [("NN", an, bn), ("NT", an, bt), ("TN", at, bn)] {
                if only.as_deref().is_some_and(|o| o != name) {
                    continue;
                }
                let reps = if only.is_some() {
                    2000
                } else if m == 2048 {
                    15
                } else {
                    60
                };
                let mut ts = vec![];
                for _ in 0..reps {
                    let s = Instant::now();
                    gemm_into(a, b, Epilogue::Identity, &mut c).unwrap();
                    ts.push(s.elapsed().as_secs_f64());
                }
                ts.sort_by(f64::total_cmp);
                let t = ts[reps / 2];
                print!(
                    "  {name} {:.3} ms {:.0} (best {:.0})",
                    t * 1e3,
                    2.0 * (m * n * k) as f64 / t / 1e9,
                    2.0 * (m * n * k) as f64 / ts[0] / 1e9
                );
            }
            println!();
        }
    });
}
