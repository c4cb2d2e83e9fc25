//! Channel energy, channel and pyramid distance, the polynomial discrepancy, and distances and angles within a
//! batch, against their twins and finite differences.

use crate::common::graph::{
    assert_finite_differences, assert_threads, assert_twins, image_laid_out, random,
};
use crate::common::{flat, laid_out};
use candle_core::{Result, Tensor, Var};
use kd_kernels::energy::{self, channel_energy};
use kd_kernels::polynomial_mmd::{self, polynomial_mmd};
use kd_kernels::pyramid_distance::{self, Level, pyramid_distance};
use kd_kernels::squared_distance::{self, channel_distance};
use kd_kernels::triples::{self, angle_distance, squared_distances};
use proptest::prelude::*;

/// The angles of x against those of a fixed target.
fn angles(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    angle_distance(&squared_distances(x)?, &squared_distances(target)?)
}

/// The same from the twins.
fn reference_angles(x: &Tensor, target: &Tensor) -> Result<Tensor> {
    let target = triples::reference::squared_distances(&target.to_dtype(x.dtype())?)?;
    triples::reference::angle_distance(&triples::reference::squared_distances(x)?, &target)
}

/// The side of maps, and the levels over them.
const PYRAMIDS: [(usize, &[usize]); 7] = [
    (32, &[32, 4, 2, 1]),
    (16, &[4, 2, 1]),
    (8, &[8, 4, 4, 1]),
    (4, &[4, 2, 1]),
    (9, &[9, 3, 1]),
    (6, &[2]),
    (1, &[1]),
];

/// A pyramid whose weights differ.
fn pyramid(which: usize) -> (usize, Vec<Level>) {
    let (side, levels) = PYRAMIDS[which];
    let level = |(i, side): (usize, &usize)| Level { side: *side, weight: 1.5 / (1 + i) as f64 };
    (side, levels.iter().enumerate().map(level).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_energy_agrees_with_its_twin(seed: u64, n in 1usize..4, c in 1usize..20, h in 1usize..9, w in 1usize..40, how in 0usize..3) {
        let x = random(seed, &[n, c, h, w]);
        assert_twins(&[x], 1e-6, |t| channel_energy(&image_laid_out(&t[0], how)), |t| energy::reference::channel_energy(&t[0]));
    }

    #[test]
    fn the_distance_agrees_with_its_twin(seed: u64, n in 1usize..4, c in 1usize..20, h in 1usize..9, w in 1usize..40, how in 0usize..9) {
        let inputs = [random(seed, &[n, c, h, w]), random(seed ^ 1, &[n, c, h, w])];
        let f = |t: &[Tensor]| channel_distance(&image_laid_out(&t[0], how), &image_laid_out(&t[1], how / 3));
        assert_twins(&inputs, 1e-5, f, |t| squared_distance::reference::channel_distance(&t[0], &t[1]));
    }

    #[test]
    fn the_pyramid_distance_agrees_with_its_twin(
        seed: u64, n in 1usize..4, c in 1usize..9, which in 0usize..PYRAMIDS.len(), how in 0usize..9,
    ) {
        let (side, levels) = pyramid(which);
        let inputs = [random(seed, &[n, c, side, side]), random(seed ^ 1, &[n, c, side, side])];
        let f = |t: &[Tensor]| pyramid_distance(&image_laid_out(&t[0], how), &image_laid_out(&t[1], how / 3), &levels);
        assert_twins(&inputs, 1e-5, f, |t| pyramid_distance::reference::pyramid_distance(&t[0], &t[1], &levels));
    }

    #[test]
    fn the_discrepancy_agrees_with_its_twin(seed: u64, n in 1usize..4, c in 1usize..20, d in 1usize..20, h in 1usize..6, w in 2usize..9, how in 0usize..9) {
        let (x, y) = (random(seed, &[n, c, h, w]), random(seed ^ 1, &[n, d, h, w]));
        let f = |t: &[Tensor]| polynomial_mmd(&image_laid_out(&t[0], how), &image_laid_out(&y, how / 3));
        assert_twins(&[x], 1e-4, f, |t| polynomial_mmd::reference::polynomial_mmd(&t[0], &y.to_dtype(t[0].dtype())?));
    }

    #[test]
    fn distances_and_angles_agree_with_their_twins(seed: u64, b in 3usize..40, d in 2usize..40, how in 0usize..4) {
        let (x, target) = (random(seed, &[b, d]), random(seed ^ 1, &[b, d + 1]));
        assert_twins(std::slice::from_ref(&x), 1e-5, |t| squared_distances(&laid_out(&t[0], how)), |t| triples::reference::squared_distances(&t[0]));
        assert_twins(&[x], 1e-3, |t| angles(&laid_out(&t[0], how), &target), |t| reference_angles(&t[0], &target));
    }
}

#[test]
fn gradients_of_the_twins_are_finite_differences() {
    assert_finite_differences(&[random(1, &[2, 3, 2, 2])], |t| {
        energy::reference::channel_energy(&t[0])
    });
    let pair = [random(2, &[2, 3, 2, 2]), random(3, &[2, 3, 2, 2])];
    assert_finite_differences(&pair, |t| {
        squared_distance::reference::channel_distance(&t[0], &t[1])
    });
    for which in [3, 5] {
        let (side, levels) = pyramid(which);
        let pair = [random(2, &[1, 2, side, side]), random(3, &[1, 2, side, side])];
        assert_finite_differences(&pair, |t| {
            pyramid_distance::reference::pyramid_distance(&t[0], &t[1], &levels)
        });
    }
    let y = random(4, &[2, 5, 2, 2]);
    let discrepancy =
        |t: &[Tensor]| polynomial_mmd::reference::polynomial_mmd(&t[0], &y.to_dtype(t[0].dtype())?);
    assert_finite_differences(&pair[..1], discrepancy);
    assert_finite_differences(&[random(5, &[4, 3])], |t| {
        triples::reference::squared_distances(&t[0])
    });
    assert_finite_differences(&[random(5, &[4, 3])], |t| {
        reference_angles(&t[0], &random(6, &[4, 2]))
    });
}

#[test]
fn the_mean_over_channels_is_the_mean_squared_error() {
    let (x, y) = (random(1, &[3, 4, 5, 6]), random(2, &[3, 4, 5, 6]));
    let want = flat(&(&x - &y).unwrap().sqr().unwrap().mean_all().unwrap())[0];
    let got = flat(&channel_distance(&x, &y).unwrap().mean_all().unwrap())[0];
    assert!((got - want).abs() < 1e-6 * want, "{got} {want}");
}

#[test]
fn the_discrepancy_of_equals_is_exactly_0() {
    let x = random(1, &[3, 7, 5, 6]);
    assert_eq!(flat(&polynomial_mmd(&x, &x).unwrap()), [0.0]);
}

/// Value and gradient of the op and of its twin where lengths are 0.
#[test]
fn channels_and_distances_of_0_have_gradient_0_as_in_the_twins() {
    let zero = |x: &Tensor, dim: usize| {
        let rest = x.narrow(dim, 1, x.dim(dim).unwrap() - 1).unwrap();
        Tensor::cat(&[&x.narrow(dim, 0, 1).unwrap().zeros_like().unwrap(), &rest], dim).unwrap()
    };
    let (x, y) = (zero(&random(1, &[2, 3, 2, 2]), 1), zero(&random(2, &[2, 4, 2, 2]), 1));
    let twin =
        |t: &[Tensor]| polynomial_mmd::reference::polynomial_mmd(&t[0], &y.to_dtype(t[0].dtype())?);
    assert_twins(std::slice::from_ref(&x), 1e-5, |t| polynomial_mmd(&t[0], &y), twin);
    let var = Var::from_tensor(&x).unwrap();
    let grad = kd_kernels::backward(&polynomial_mmd(&var, &y).unwrap())
        .unwrap()
        .get(&var)
        .unwrap()
        .narrow(1, 0, 1)
        .unwrap();
    assert!(flat(&grad).iter().all(|g| *g == 0.0));

    // Two equal vectors in x, two others in the target.
    let repeated =
        |x: Tensor, from: usize| Tensor::cat(&[&x, &x.narrow(0, from, 1).unwrap()], 0).unwrap();
    let (x, target) = (repeated(random(3, &[5, 4]), 0), repeated(random(4, &[5, 3]), 2));
    assert_twins(
        std::slice::from_ref(&x),
        1e-4,
        |t| angles(&t[0], &target),
        |t| reference_angles(&t[0], &target),
    );
    assert_twins(
        &[x.zeros_like().unwrap()],
        1e-4,
        |t| angles(&t[0], &target),
        |t| reference_angles(&t[0], &target),
    );
}

#[test]
fn a_graph_may_be_walked_twice_and_the_target_has_no_gradient() {
    let (x, y) = (
        Var::from_tensor(&random(1, &[4, 6, 2, 2])).unwrap(),
        Var::from_tensor(&random(2, &[4, 6, 2, 2])).unwrap(),
    );
    let loss = polynomial_mmd(&x, &y).unwrap();
    let (once, twice) = (loss.backward().unwrap(), loss.backward().unwrap());
    assert_eq!(flat(once.get(&x).unwrap()), flat(twice.get(&x).unwrap()));
    assert!(once.get(&y).is_none());
    let (x, y) = (
        Var::from_tensor(&random(1, &[4, 6])).unwrap(),
        Var::from_tensor(&random(2, &[4, 6])).unwrap(),
    );
    let loss = angles(&x, &y).unwrap();
    let (once, twice) = (loss.backward().unwrap(), loss.backward().unwrap());
    assert_eq!(flat(once.get(&x).unwrap()), flat(twice.get(&x).unwrap()));
    assert!(once.get(&y).is_none());
}

#[test]
fn values_without_a_graph_are_those_with_one() {
    let (x, y) = (random(1, &[37, 6]), random(2, &[37, 6]));
    let var = Var::from_tensor(&x).unwrap();
    assert_eq!(flat(&angles(&x, &y).unwrap()), flat(&angles(&var, &y).unwrap()));
    let (x, y) = (random(1, &[7, 6, 3, 3]), random(2, &[7, 5, 3, 3]));
    let var = Var::from_tensor(&x).unwrap();
    assert_eq!(flat(&polynomial_mmd(&x, &y).unwrap()), flat(&polynomial_mmd(&var, &y).unwrap()));
}

#[test]
fn results_do_not_depend_on_threads() {
    let image = |seed| random(seed, &[5, 18, 31, 33]);
    assert_threads(&[image(1)], |t| channel_energy(&t[0]));
    assert_threads(&[image(1), image(2)], |t| channel_distance(&t[0], &t[1]));
    let maps = [random(1, &[5, 18, 32, 32]), random(2, &[5, 18, 32, 32])];
    assert_threads(&maps, |t| pyramid_distance(&t[0], &t[1], &pyramid(0).1));
    assert_threads(&[image(1)], |t| polynomial_mmd(&t[0], &image(2)));
    assert_threads(&[random(1, &[83, 45])], |t| squared_distances(&t[0]));
    assert_threads(&[random(1, &[83, 45])], |t| angles(&t[0], &random(2, &[83, 9])));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let x = random(1, &[2, 3, 4, 5]);
    let says = |result: Result<Tensor>, what: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    says(channel_energy(&random(1, &[2, 3, 4])), "channel_energy: x has shape [2, 3, 4]");
    says(channel_distance(&x, &x.narrow(1, 0, 2).unwrap()), "got [2, 3, 4, 5] and [2, 2, 4, 5]");
    let (maps, levels) = (random(1, &[2, 3, 4, 4]), |side| [Level { side, weight: 1.0 }]);
    says(pyramid_distance(&x, &x, &levels(2)), "[n, c, side, side], not empty, got [2, 3, 4, 5]");
    let two = maps.narrow(1, 0, 2).unwrap();
    says(pyramid_distance(&maps, &two, &levels(2)), "y has shape [2, 2, 4, 4]");
    says(pyramid_distance(&maps, &maps, &[]), "at least one level");
    says(pyramid_distance(&maps, &maps, &levels(3)), "a multiple of 3, got 4");
    says(pyramid_distance(&maps, &maps, &levels(0)), "a multiple of 0, got 4");
    says(polynomial_mmd(&x, &x.narrow(2, 0, 2).unwrap()), "got [2, 3, 4, 5] and [2, 3, 2, 5]");
    says(polynomial_mmd(&x, &x.narrow(0, 0, 1).unwrap()), "got [2, 3, 4, 5] and [1, 3, 4, 5]");
    says(squared_distances(&x), "squared_distances: x has shape [2, 3, 4, 5]");
    says(angle_distance(&random(1, &[2, 3]), &random(1, &[2, 3])), "got [2, 3] and [2, 3]");
    says(angle_distance(&random(1, &[3, 3]), &random(1, &[2, 2])), "got [3, 3] and [2, 2]");
}
