//! The seeded stream: pure in its index, uniform, unbiased.

use kd_kernels::stream::Stream;
use proptest::prelude::*;

proptest! {
    #[test]
    fn fills_from_any_start_are_the_single_draws(key: u64, hi: u64, start in 0u64..1 << 40, n in 0usize..150) {
        let stream = Stream::new(key, hi);
        let mut words = vec![0u32; n];
        stream.fill_u32(start, &mut words);
        let (mut uniforms, mut normals) = (vec![0f32; n], vec![0f32; n]);
        stream.fill_uniform(start, &mut uniforms);
        stream.fill_normal(start, &mut normals);
        for i in 0..n {
            let at = start + i as u64;
            prop_assert_eq!(words[i], stream.u32_at(at));
            prop_assert_eq!(uniforms[i], stream.uniform_at(at));
            prop_assert_eq!(normals[i].to_bits(), stream.normal_at(at).to_bits());
        }
    }

    #[test]
    fn below_stays_below(key: u64, i in 0u64..1 << 48, n in 1u64..) {
        prop_assert!(Stream::new(key, 0).below(i, n) < n);
    }

    #[test]
    fn a_permutation_holds_each_number_once(key: u64, n in 0usize..500) {
        let mut order = Stream::new(key, 0).permutation(n);
        order.sort_unstable();
        prop_assert!(order.into_iter().eq(0..n));
    }
}

#[test]
fn long_fills_cross_their_inner_buffers_unharmed() {
    let stream = Stream::new(1, 2);
    let (mut uniforms, mut normals) = (vec![0f32; 5003], vec![0f32; 5003]);
    stream.fill_uniform(3, &mut uniforms);
    stream.fill_normal(3, &mut normals);
    for i in 0..5003 {
        assert_eq!(uniforms[i], stream.uniform_at(i as u64 + 3));
        assert_eq!(normals[i].to_bits(), stream.normal_at(i as u64 + 3).to_bits());
    }
}

#[test]
fn streams_that_differ_in_key_or_counter_share_no_words() {
    let words = |s: Stream| (0..256).map(|i| s.u32_at(i)).collect::<Vec<_>>();
    let one = words(Stream::new(1, 1));
    for other in [
        Stream::new(2, 1),
        Stream::new(1, 2),
        Stream::new(1 << 32 | 1, 1),
        Stream::new(1, 1 << 32 | 1),
    ] {
        let same = words(other).iter().zip(&one).filter(|(a, b)| a == b).count();
        assert_eq!(same, 0);
    }
}

#[test]
fn uniforms_have_the_moments_of_their_distribution() {
    let n = 400_000;
    let mut x = vec![0f32; n];
    Stream::new(42, 0).fill_uniform(0, &mut x);
    assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
    let variance = x.iter().map(|&x| (f64::from(x) - 0.5).powi(2)).sum::<f64>() / n as f64;
    assert!((mean - 0.5).abs() < 0.0023, "mean {mean}");
    assert!((variance - 1.0 / 12.0).abs() < 0.0006, "variance {variance}");
}

#[test]
fn normals_have_the_moments_of_their_distribution() {
    let n = 400_000;
    let mut x = vec![0f32; n];
    Stream::new(43, 0).fill_normal(0, &mut x);
    let moment = |k: i32| x.iter().map(|&x| f64::from(x).powi(k)).sum::<f64>() / n as f64;
    // Each bound is five standard deviations of the estimate: √(Var[x^k]/n).
    for (k, want, variance) in [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)] {
        let bound = 5.0 * (variance / n as f64).sqrt();
        assert!((moment(k) - want).abs() < bound, "moment {k}: {}", moment(k));
    }
    let beyond_two = x.iter().filter(|x| x.abs() > 2.0).count() as f64 / n as f64;
    assert!((beyond_two - 0.045500264).abs() < 0.0017, "beyond two: {beyond_two}");
    // The two normals of a pair share a radius and must still not go together.
    let correlation =
        x.chunks_exact(2).map(|p| f64::from(p[0]) * f64::from(p[1])).sum::<f64>() / (n / 2) as f64;
    assert!(correlation.abs() < 5.0 / ((n / 2) as f64).sqrt(), "correlation {correlation}");
}

#[test]
fn below_gives_each_value_equally_often() {
    let (draws, stream) = (60_000, Stream::new(44, 0));
    let mut counts = [0f64; 6];
    for i in 0..draws {
        counts[stream.below(i, 6) as usize] += 1.0;
    }
    let expected = draws as f64 / 6.0;
    let chi_square: f64 = counts.iter().map(|c| (c - expected).powi(2) / expected).sum();
    // 5 degrees of freedom: 20.5 is passed once in a thousand seeds.
    assert!(chi_square < 20.5, "{chi_square}");
}

#[test]
fn below_rejects_where_a_plain_scaling_would_favour() {
    // Of the 64-bit words, a third would have to go: the retry is exercised, and the halves stay
    // even.
    let n = (1u64 << 63) + (1 << 62);
    let stream = Stream::new(45, 0);
    let low = (0..20_000).filter(|&i| stream.below(i, n) < n / 2).count();
    assert!((9_600..10_400).contains(&low), "{low}");
}

#[test]
fn all_permutations_of_four_are_equally_likely() {
    let trials = 24_000u64;
    let mut counts = std::collections::BTreeMap::new();
    for key in 0..trials {
        *counts.entry(Stream::new(key, 9).permutation(4)).or_insert(0f64) += 1.0;
    }
    assert_eq!(counts.len(), 24);
    let expected = trials as f64 / 24.0;
    let chi_square: f64 = counts.values().map(|c| (c - expected).powi(2) / expected).sum();
    // 23 degrees of freedom: 49.7 is passed once in a thousand sets of keys.
    assert!(chi_square < 49.7, "{chi_square}");
}
