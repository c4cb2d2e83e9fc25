//! Distils a model of one's own: a small net learns two spirals from a larger one.
//!
//! `cargo run -p kd-core --example distil_your_own`

use candle_core::{Device, Tensor};
use kd_core::method::MethodSpec;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Batch, Examples, Fit, OptimizerSpec, Schedule, TrainSpec, evaluate, predict};

/// Two noisy spirals: 2 inputs, 2 classes. Any data works: say how many examples there are and make a batch of some.
struct Spirals {
    points: Vec<[f32; 2]>,
    labels: Vec<u8>,
    teacher: Option<Vec<Vec<f32>>>,
}

impl Spirals {
    fn new(n: usize, seed: Seed) -> Self {
        let noise = seed.stream("spirals", 0, 0);
        let point = |i: usize| {
            let t = 0.5 + 9. * (i / 2) as f32 / (n / 2) as f32;
            let angle = t + std::f32::consts::PI * (i % 2) as f32;
            [0, 1].map(|d| 0.1 * t * (angle - 1.5708 * d as f32).cos() + 0.03 * noise.normal_at((2 * i + d) as u64))
        };
        Self { points: (0..n).map(point).collect(), labels: (0..n).map(|i| (i % 2) as u8).collect(), teacher: None }
    }
    fn inputs(&self) -> candle_core::Result<Tensor> {
        Tensor::new(self.points.as_slice(), &Device::Cpu)
    }
}

impl Examples for Spirals {
    fn len(&self) -> usize {
        self.points.len()
    }
    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> kd_core::Result<Batch> {
        let pick = rows.iter().map(|&r| r as usize);
        let labels: Vec<u32> = pick.clone().map(|r| u32::from(self.labels[r])).collect();
        let logits = self.teacher.as_ref().map(|all| pick.clone().map(|r| all[r].clone()).collect::<Vec<_>>());
        Ok(Batch {
            inputs: Tensor::new(pick.map(|r| self.points[r]).collect::<Vec<_>>(), device)?,
            labels: Tensor::new(labels, device)?,
            teacher_logits: logits.map(|l| Tensor::new(l, device)).transpose()?,
        })
    }
}

fn main() -> kd_core::Result<()> {
    let (mut train, test) = (Spirals::new(300, Seed(1)), Spirals::new(2000, Seed(2)));
    let spec = TrainSpec {
        epochs: 150,
        batch_size: 20,
        learning_rate: 0.02,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 0,
        max_norm: 0.,
        average_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0. },
    };
    let fit = |hidden: Vec<usize>, method: MethodSpec, train: &Spirals| -> kd_core::Result<(usize, Tensor)> {
        let net = MlpSpec { inputs: 2, hidden, classes: 2, dropout_input: 0., dropout_hidden: 0., init: WeightInit::HeNormal };
        let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
        let (model, method) = (Mlp::new(&net, vb)?, method.build()?);
        Fit {
            model: &model,
            params: &params,
            method: &*method,
            examples: train,
            spec: &spec,
            seed: Seed(7),
            device: &Device::Cpu,
            state: None,
            save_every: std::time::Duration::MAX,
        }
        .run(&mut |_| ())?;
        let errors = evaluate(&model, &test.inputs()?, &test.labels, 500, &Device::Cpu)?;
        Ok((errors.total(), predict(&model, &train.inputs()?, 500, &Device::Cpu)?))
    };
    let soft = MethodSpec::SoftTargets { temperature: 4., soft_weight: 1., hard_weight: 0.1 };
    let (teacher, logits) = fit(vec![128, 128], MethodSpec::HardTargets {}, &train)?;
    let (alone, _) = fit(vec![12, 12], MethodSpec::HardTargets {}, &train)?;
    train.teacher = Some(logits.to_vec2()?);
    let (distilled, _) = fit(vec![12, 12], soft, &train)?;
    println!("errors of {}: teacher {teacher}, student alone {alone}, student distilled {distilled}", test.labels.len());
    Ok(())
}
