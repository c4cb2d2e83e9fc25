//! Losses on features against PyTorch's values in `../golden/transfer_losses.json`, which
//! `scripts/oracles/transfer_losses.py` writes, and against values of the methods' published
//! programs in float64.

use std::collections::BTreeSet;

use candle_core::{DType, Device, Result, Tensor, Var};
use kd_core::loss::contrastive::{
    Pairs, Picks, contrast, noise_contrast, normaliser, remember, unit_rows,
};
use kd_core::loss::overhaul::margins;
use kd_core::loss::{activation_boundary, factor_transfer, overhaul, solution_flow};
use serde_json::Value;

const GOLDEN: &str = include_str!("../golden/transfer_losses.json");

/// Rounding of f32, then of f64, whose goldens have 12 digits.
const DTYPES: [(DType, f64); 2] = [(DType::F32, 1e-5), (DType::F64, 1e-10)];

fn golden() -> Value {
    serde_json::from_str(GOLDEN).expect("the golden file is JSON")
}

/// sin(a·i + b) over the row-major index i.
fn g(dims: &[usize], a: f64, b: f64) -> Result<Tensor> {
    let values: Vec<f64> =
        (0..dims.iter().product::<usize>()).map(|i| (a * i as f64 + b).sin()).collect();
    Tensor::from_vec(values, dims, &Device::Cpu)
}

fn numbers(json: &Value) -> Vec<f64> {
    json.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

fn integers(json: &Value) -> Vec<usize> {
    json.as_array()
        .expect("an array")
        .iter()
        .map(|v| v.as_u64().expect("an integer") as usize)
        .collect()
}

fn flat(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// Checks that no difference is above `tolerance` times the largest of what is expected.
#[track_caller]
fn close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let size = want.iter().fold(0f64, |m, w| m.max(w.abs()));
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance * size,
            "{what}: at {i} got {got}, expected {want}"
        );
    }
}

/// Compares value and gradients of `f`, which takes the case, the student's maps and the teacher's.
fn check(loss: &str, f: impl Fn(&Value, &[Tensor], &[Tensor]) -> Result<Tensor>) -> Result<()> {
    for (at, case) in golden()["losses"][loss].as_array().expect("cases").iter().enumerate() {
        for (dtype, tolerance) in DTYPES {
            let maps = |side: &str, a: f64, b: f64| -> Result<Vec<Tensor>> {
                let shapes = case[side].as_array().expect("shapes").iter().enumerate();
                shapes
                    .map(|(i, shape)| {
                        g(&integers(shape), a + 0.2 * i as f64, b + i as f64)?.to_dtype(dtype)
                    })
                    .collect()
            };
            let student: Vec<Var> =
                maps("student", 0.7, 0.1)?.iter().map(Var::from_tensor).collect::<Result<_>>()?;
            let teacher = maps("teacher", 1.3, 0.5)?;
            let tensors: Vec<Tensor> = student.iter().map(|v| v.as_tensor().clone()).collect();
            let what = format!("{loss} case {at} {dtype:?}");
            let loss = f(case, &tensors, &teacher)?;
            close(&flat(&loss)?, &[case["value"].as_f64().expect("a value")], tolerance, &what);
            let gradients = kd_kernels::backward(&loss)?;
            for (i, (var, want)) in
                student.iter().zip(case["grads"].as_array().expect("gradients")).enumerate()
            {
                let got = flat(gradients.get(var).expect("a gradient"))?;
                close(&got, &numbers(want), tolerance, &format!("{what}: gradient {i}"));
            }
        }
    }
    Ok(())
}

fn power(json: &Value) -> u32 {
    json.as_u64().expect("a power") as u32
}

#[test]
fn activation_boundary_agrees_with_torch() -> Result<()> {
    check("activation_boundary", |case, s, t| {
        activation_boundary(&s[0], &t[0], case["margin"].as_f64().expect("a margin"))
    })
}

#[test]
fn factor_transfer_agrees_with_torch() -> Result<()> {
    check("factor_transfer", |case, s, t| {
        factor_transfer(&s[0], &t[0], power(&case["power"]), power(&case["norm"]))
    })
}

#[test]
fn solution_flow_agrees_with_torch() -> Result<()> {
    check("solution_flow", |_, s, t| solution_flow((&s[0], &s[1]), (&t[0], &t[1])))
}

#[test]
fn overhaul_and_its_margins_agree_with_torch() -> Result<()> {
    check("overhaul", |_, s, t| {
        let m = (g(&[s[0].dim(1)?], 0.5, 0.3)?.abs()? * -0.4)?;
        overhaul(&s[0], &t[0], &m.to_dtype(s[0].dtype())?)
    })?;
    let got = margins(&(g(&[12], 0.7, 0.2)? * 0.9)?, &g(&[12], 1.1, 0.4)?)?;
    close(&flat(&got)?, &numbers(&golden()["margins"]), 1e-9, "margins");
    Ok(())
}

#[test]
fn values_of_the_published_programs() -> Result<()> {
    for (dtype, tolerance) in DTYPES {
        let at = |dims: &[usize], a: f64, b: f64| g(dims, a, b)?.to_dtype(dtype);
        let (fs, ft) = (at(&[4, 6, 8, 8], 0.013, 0.2)?, at(&[4, 6, 8, 8], 0.017, 0.9)?);
        let (fs2, ft2) = (at(&[4, 6, 4, 4], 0.011, 0.6)?, at(&[4, 6, 4, 4], 0.029, 0.3)?);
        let expect = |got: &Tensor, factor: f64, want: f64, what: &str| -> Result<()> {
            close(&[flat(got)?[0] * factor], &[want], tolerance, &format!("{what} {dtype:?}"));
            Ok(())
        };
        // Three stages weigh 1/4, 1/2 and 1, and all 3/1000.
        expect(
            &activation_boundary(&fs, &ft, 1.)?,
            0.003 / 4.,
            0.43395595220164257,
            "ab, stage 1",
        )?;
        let deep = activation_boundary(&fs2, &ft2, 1.)?;
        expect(&deep, 0.003 / 2., 0.19673568760632065, "ab, stage 2")?;
        expect(&deep, 0.003, 0.3934713752126413, "ab, stage 3")?;
        expect(&factor_transfer(&fs, &ft, 2, 1)?, 1., 0.005989282227550619, "ft")?;
        expect(&solution_flow((&fs, &fs2), (&ft, &ft2))?, 1., 0.28590955417075076, "fsp")?;
        let scores = (at(&[4, 9], 0.9, 0.1)?.exp()? / 50_000.)?;
        expect(&contrast(&scores, 50_000)?, 1., 3.416399722198985, "contrast")?;
        let m = (at(&[6], 0.5, 0.3)?.abs()? * -0.4)?;
        expect(&overhaul(&fs, &ft, &m)?, 1., 297.05804069556467, "ofd")?;
    }
    Ok(())
}

/// The constants of the oracle's ten steps.
const IMAGES: usize = 40;
const WIDTH: usize = 8;
const TEMPERATURE: f64 = 0.07;

#[test]
fn ten_steps_of_contrast_with_a_moving_memory_agree_with_torch() -> Result<()> {
    let golden = &golden()["crd"];
    for (dtype, tolerance) in [(DType::F32, 1e-4), (DType::F64, 1e-8)] {
        let at = |scale: f64, dims: &[usize], a: f64, b: f64| {
            (g(dims, a, b)?.to_dtype(dtype)? * scale)?.copy()
        };
        let var = |scale, dims: &[usize], a, b| Var::from_tensor(&at(scale, dims, a, b)?);
        let widths = [5, 7];
        let sides = ["student", "teacher"];
        let weights =
            [var(0.4, &[WIDTH, widths[0]], 0.37, 0.1)?, var(0.4, &[WIDTH, widths[1]], 0.53, 0.3)?];
        let biases = [var(0.1, &[WIDTH], 0.91, 0.2)?, var(0.1, &[WIDTH], 1.07, 0.4)?];
        let memories =
            [at(0.6, &[IMAGES, WIDTH], 0.23, 0.7)?, at(0.6, &[IMAGES, WIDTH], 0.41, 1.1)?];
        let (mut z, mut seen) = (None, BTreeSet::new());
        for (step, want) in golden["steps"].as_array().expect("steps").iter().enumerate() {
            let what = format!("step {step} {dtype:?}");
            let images: Vec<u32> = integers(&want["images"]).iter().map(|&i| i as u32).collect();
            seen.extend(images.iter().copied());
            let negatives: Vec<Vec<u32>> = want["negatives"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|row| integers(row).iter().map(|&i| i as u32).collect())
                .collect();
            let negatives = Picks::new(IMAGES, &negatives)?;
            let features = [
                at(1., &[images.len(), widths[0]], 0.13, 0.5 * step as f64)?,
                at(1., &[images.len(), widths[1]], 0.29, 0.3 * step as f64)?,
            ];
            let embed = |side: usize| {
                unit_rows(
                    &features[side].matmul(&weights[side].t()?)?.broadcast_add(&biases[side])?,
                )
            };
            let embeddings = [embed(0)?, embed(1)?];
            let pairs =
                Pairs { positives: &images, negatives: &negatives, temperature: TEMPERATURE };
            let z = match z {
                Some(z) => z,
                None => *z.insert([
                    normaliser(&embeddings[0], &memories[1], &pairs)?,
                    normaliser(&embeddings[1], &memories[0], &pairs)?,
                ]),
            };
            let losses = [
                noise_contrast(&embeddings[0], &memories[1], &pairs, z[0])?,
                noise_contrast(&embeddings[1], &memories[0], &pairs, z[1])?,
            ];
            close(
                &[flat(&losses[0])?, flat(&losses[1])?].concat(),
                &numbers(&want["losses"]),
                tolerance,
                &format!("{what}: losses"),
            );
            for side in 0..2 {
                remember(&memories[side], &images, &embeddings[side], 0.5)?;
            }
            let gradients = kd_kernels::backward(&(&losses[0] + &losses[1])?)?;
            for (side, name) in sides.iter().enumerate() {
                for (var, kind) in [(&weights[side], "weight"), (&biases[side], "bias")] {
                    let gradient = gradients.get(var).expect("a gradient");
                    if let Some(want) = want["grads"].as_object() {
                        let name = format!("{name}.{kind}");
                        close(
                            &flat(gradient)?,
                            &numbers(&want[&name]),
                            10. * tolerance,
                            &format!("{what}: gradient of {name}"),
                        );
                    }
                    var.set(&(var.as_tensor() - (gradient * 0.02)?)?)?;
                }
            }
        }
        close(&z.expect("ten steps"), &numbers(&golden["normalisers"]), tolerance, "normalisers");
        for (side, name) in sides.iter().enumerate() {
            close(
                &flat(&memories[side])?,
                &numbers(&golden["memories"][side]),
                10. * tolerance,
                &format!("memory of the {name}"),
            );
            for (var, kind) in [(&weights[side], "weight"), (&biases[side], "bias")] {
                let name = format!("{name}.{kind}");
                close(&flat(var)?, &numbers(&golden["adapters"][&name]), 10. * tolerance, &name);
            }
        }
        // Rows of images that were in no batch are as they began.
        let begun = flat(&at(0.6, &[IMAGES, WIDTH], 0.23, 0.7)?)?;
        for (image, (row, begun)) in
            flat(&memories[0])?.chunks(WIDTH).zip(begun.chunks(WIDTH)).enumerate()
        {
            let length = row.iter().map(|x| x * x).sum::<f64>();
            assert!(
                if seen.contains(&(image as u32)) {
                    (length - 1.).abs() < 1e-5
                } else {
                    row == begun
                },
                "image {image}: {length}"
            );
        }
        assert!(seen.len() > 10 && seen.len() < IMAGES);
    }
    Ok(())
}
