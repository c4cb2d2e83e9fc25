use super::*;
use crate::Seed;

const SIZE: (usize, usize) = (6, 8);

fn image(purpose: usize) -> Vec<u8> {
    let stream = Seed(1).stream("image", purpose, 0);
    (0..3 * SIZE.0 * SIZE.1).map(|i| stream.u32_at(i as u64) as u8).collect()
}

fn applied(operation: Operation, strength: f64) -> Vec<u8> {
    let mut out = image(0);
    operation.apply(&mut out, SIZE, strength).expect("an image");
    out
}

#[test]
fn at_these_strengths_an_image_stays_as_it_is() {
    for (operation, strength) in [
        (Operation::Identity, 0.5),
        (Operation::Brightness, 1.),
        (Operation::Colour, 1.),
        (Operation::Contrast, 1.),
        (Operation::Sharpness, 1.),
        (Operation::Posterise, 8.),
        (Operation::Solarise, 256.),
        (Operation::Rotate, 0.),
        (Operation::ShearX, 0.),
        (Operation::ShearY, 0.),
        (Operation::TranslateX, 0.),
        (Operation::TranslateY, 0.),
    ] {
        assert_eq!(applied(operation, strength), image(0), "{operation:?}");
    }
}

#[test]
fn moving_by_whole_pixels_moves_whole_rows_and_columns_and_leaves_black() {
    let (rows, cols) = SIZE;
    let old = image(0);
    let (x, y) = (applied(Operation::TranslateX, 0.25), applied(Operation::TranslateY, -0.5));
    for i in 0..3 * rows * cols {
        let (row, col) = (i / cols % rows, i % cols);
        assert_eq!(x[i], if col + 2 < cols { old[i + 2] } else { 0 });
        assert_eq!(y[i], if row >= 3 { old[i - 3 * cols] } else { 0 });
    }
}

#[test]
fn sine_and_cosine_are_those_of_the_library() {
    for degrees in -30..=30 {
        let angle = f64::from(degrees).to_radians();
        let (sine, cosine) = sine_and_cosine(angle);
        assert!((sine - angle.sin()).abs() < 1e-15 && (cosine - angle.cos()).abs() < 1e-15);
    }
}

#[test]
fn a_view_is_a_function_of_step_and_position_and_draws_every_operation_and_strength_evenly() {
    let step = |step| StepSeed { seed: Seed(3), epoch: 1, step };
    let view = StrongView { operations: 2, cutout: 0.5 };
    let at = |s: StepSeed, position| {
        let mut out = image(0);
        view.apply(&mut out, SIZE, s, position).expect("an image");
        out
    };
    assert_eq!(at(step(0), 3), at(step(0), 3));
    let others = [at(step(0), 4), at(step(1), 3)];
    assert!(others.iter().all(|other| *other != at(step(0), 3)));
    // 14,000 draws: 1000 of each, deviation 30.
    let (which, strength) =
        (step(0).stream("augment.operation"), step(0).stream("augment.strength"));
    let mut counts = [0usize; 14];
    let mut sum = 0.;
    for i in 0..14_000 {
        counts[which.below(i, 14) as usize] += 1;
        sum += f64::from(strength.uniform_at(i));
    }
    assert!(counts.iter().all(|n| n.abs_diff(1000) < 150), "{counts:?}");
    assert!((sum / 14_000. - 0.5).abs() < 0.02);
}

#[test]
fn a_hole_is_a_square_of_one_colour_that_may_stick_out_and_without_one_there_is_none() {
    let (rows, cols) = SIZE;
    let view = StrongView { operations: 0, cutout: 0.5 };
    let (mut pixels, mut largest) = (0, 0);
    for position in 0..500 {
        // No pixel has the colour of the hole.
        let mut out = vec![7u8; 3 * rows * cols];
        let draws = StepSeed { seed: Seed(3), epoch: 0, step: 0 };
        view.apply(&mut out, SIZE, draws, position).expect("an image");
        let holes: Vec<usize> = (0..rows * cols).filter(|&i| out[i] != 7).collect();
        for &i in &holes {
            let colour = [out[i], out[rows * cols + i], out[2 * rows * cols + i]];
            assert_eq!(colour, HOLE);
        }
        let columns = holes.iter().map(|i| i % cols);
        let (left, right) = (columns.clone().min(), columns.max());
        let (top, bottom) = (holes.first().map(|i| i / cols), holes.last().map(|i| i / cols));
        if let (Some(left), Some(right), Some(top), Some(bottom)) = (left, right, top, bottom) {
            assert_eq!(holes.len(), (right - left + 1) * (bottom - top + 1));
            largest = largest.max(right - left + 1);
        }
        pixels += holes.len();
    }
    // Half of the width.
    assert_eq!(largest, 4);
    assert!(pixels > 500, "{pixels}");
    let mut out = image(0);
    let none = StrongView { operations: 0, cutout: 0. };
    none.apply(&mut out, SIZE, StepSeed { seed: Seed(3), epoch: 0, step: 0 }, 0).expect("one");
    assert_eq!(out, image(0));
}

#[test]
fn images_of_other_sizes_and_numbers_outside_their_domain_are_refused() {
    let error = Operation::Identity.apply(&mut [0; 5], SIZE, 0.).expect_err("refused");
    assert_eq!(error.to_string(), "augmentation: expected a colour image of 144 bytes, got 5");
    for operation in Operation::ALL {
        operation.apply(&mut [], (0, 4), operation.strengths().start).expect("an empty image");
        let mut one = [3u8, 200, 90];
        operation.apply(&mut one, (1, 1), operation.strengths().start).expect("a pixel");
    }
    for (operations, cutout, part) in
        [(65, 0., "view.operations: "), (2, 1.5, "view.cutout: "), (2, f64::NAN, "view.cutout: ")]
    {
        let error = StrongView { operations, cutout }.check().expect_err("refused");
        assert!(error.to_string().starts_with(part), "{error}");
    }
}
