//! The products of a head on every instruction set that this machine has.

use super::product::{AttentionProduct, Scores, Transposed};
use crate::stream::Stream;
use crate::vector::Isa;

fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut values = vec![0f32; len];
    Stream::new(seed, 1).fill_normal(0, &mut values);
    values
}

#[test]
fn products_of_any_size_are_those_of_plain_loops() {
    for isa in Isa::available() {
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 7), (9, 33, 16), (17, 31, 4), (8, 64, 20), (23, 70, 3), (2, 16, 0)]
        {
            for transposed in [false, true] {
                let (a_row, b_row, c_row) = (k + 3, n + 2, n + 1);
                let a_strides = if transposed { (1, m + 2) } else { (a_row, 1) };
                let (a, b) = (random(1, (m + 2) * (k + 3)), random(2, (k + 1) * b_row));
                let mut c = vec![7.0; m * c_row];
                // SAFETY: the machine has the set, and the operands are large enough for the
                // strides.
                unsafe {
                    isa.run(AttentionProduct {
                        m,
                        n,
                        k,
                        a: a.as_ptr(),
                        a_strides,
                        b: b.as_ptr(),
                        b_row,
                        c: c.as_mut_ptr(),
                        c_row,
                    })
                };
                for i in 0..m {
                    for j in 0..n {
                        let want: f64 = (0..k)
                            .map(|p| {
                                f64::from(a[i * a_strides.0 + p * a_strides.1])
                                    * f64::from(b[p * b_row + j])
                            })
                            .sum();
                        assert!(
                            (f64::from(c[i * c_row + j]) - want).abs() < 1e-4,
                            "{isa:?} {m}x{n}x{k} at {i}, {j}"
                        );
                    }
                    assert_eq!(
                        c[i * c_row + n],
                        7.0,
                        "{isa:?}: a value beside the result was written"
                    );
                }
            }
        }
    }
}

#[test]
fn transposes_and_scores_of_any_size_are_those_of_plain_loops() {
    for isa in Isa::available() {
        for (rows, cols) in [(1, 1), (16, 16), (8, 24), (33, 17), (5, 40), (20, 3)] {
            let from = random(3, rows * (cols + 1));
            let mut to = vec![7.0; cols * (rows + 2)];
            let (from_row, to_row) = (cols + 1, rows + 2);
            // SAFETY: the machine has the set, and both matrices fit.
            unsafe {
                isa.run(Transposed {
                    rows,
                    cols,
                    from: from.as_ptr(),
                    from_row,
                    to: to.as_mut_ptr(),
                    to_row,
                })
            };
            for j in 0..cols {
                for i in 0..rows {
                    assert_eq!(to[j * to_row + i], from[i * from_row + j], "{isa:?}");
                }
                assert_eq!(
                    to[j * to_row + rows..][..2],
                    [7.0; 2],
                    "{isa:?}: a value beside the result was written"
                );
            }
            // The same numbers as rows keys of two heads.
            let (head, keys, k) = (cols, rows, random(4, 2 * rows * cols));
            let q = random(5, 2 * head);
            let mut scores = vec![7.0; 2 * (keys + 1)];
            let (k_row, to_row) = (2 * head, keys + 1);
            // SAFETY: as above.
            unsafe {
                isa.run(Scores {
                    heads: 2,
                    head,
                    keys,
                    q: q.as_ptr(),
                    k: k.as_ptr(),
                    k_row,
                    to: scores.as_mut_ptr(),
                    to_row,
                })
            };
            for h in 0..2 {
                for j in 0..keys {
                    let dot = |c: usize| {
                        f64::from(q[h * head + c]) * f64::from(k[j * k_row + h * head + c])
                    };
                    let want: f64 = (0..head).map(dot).sum();
                    assert!((f64::from(scores[h * to_row + j]) - want).abs() < 1e-4, "{isa:?}");
                }
                assert_eq!(scores[h * to_row + keys], 7.0);
            }
        }
    }
}
