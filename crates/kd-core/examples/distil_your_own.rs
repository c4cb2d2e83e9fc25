//! Distils a model of one's own: a small net learns two spirals from a larger one. `cargo run -p
//! kd-core --example distil_your_own`
use candle_core::{Device, Tensor};
use kd_core::method::Distillation;
use kd_core::method::hard_targets::HardTargets;
use kd_core::method::soft_targets::{self, SoftTargets};
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Batch, Examples, Fit, OptimizerSpec, Schedule, TrainSpec, evaluate, predict};
use kd_core::{Result, params::Params};

/// Any data will do: say how many examples there are, and make a batch of some of them.
struct Spirals {
    points: Tensor,
    labels: Vec<u8>,
    teacher_logits: Option<Tensor>,
}

impl Spirals {
    fn new(n: usize, seed: Seed) -> Result<Self> {
        let noise = seed.stream("spirals", 0, 0);
        let coordinate = |i: usize| {
            let (t, arm, quarter) = (
                0.5 + 9. * (i / 4) as f32 / (n / 2) as f32,
                (i / 2 % 2) as f32,
                0.5 * (i % 2) as f32,
            );
            0.1 * t * (t + std::f32::consts::PI * (arm - quarter)).cos()
                + 0.03 * noise.normal_at(i as u64)
        };
        let points = Tensor::from_vec((0..2 * n).map(coordinate).collect(), (n, 2), &Device::Cpu)?;
        Ok(Self { points, labels: (0..n).map(|i| (i % 2) as u8).collect(), teacher_logits: None })
    }
}

impl Examples for Spirals {
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let index = Tensor::new(rows, device)?;
        let labels: Vec<u32> = rows.iter().map(|&r| self.labels[r as usize].into()).collect();
        let teacher_logits =
            self.teacher_logits.as_ref().map(|all| all.index_select(&index, 0)).transpose()?;
        Ok(Batch {
            inputs: self.points.index_select(&index, 0)?,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits,
        })
    }
}

fn main() -> Result<()> {
    let (mut train, test) = (Spirals::new(300, Seed(1))?, Spirals::new(2000, Seed(2))?);
    let optimizer = OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0. };
    let (schedule, learning_rate) = (Schedule::Cosine {}, 0.02);
    let (epochs, batch_size) = (150, 20);
    let spec = TrainSpec {
        epochs,
        batch_size,
        learning_rate,
        schedule,
        warm_up_epochs: 0,
        optimizer,
        max_norm: 0.,
        average_epochs: 0,
    };
    let fit = |hidden: Vec<usize>,
               method: &dyn Distillation,
               examples: &Spirals|
     -> Result<(usize, Tensor)> {
        let (device, seed, init) = (&Device::Cpu, Seed(7), WeightInit::HeNormal);
        let net =
            MlpSpec { inputs: 2, hidden, classes: 2, dropout_input: 0., dropout_hidden: 0., init };
        let (params, vb) = Params::seeded(seed, device);
        let model = &Mlp::new(&net, vb)?;
        Fit::new(model, &params, method, examples, &spec, seed, device).run(&mut ())?;
        let errors = evaluate(model, &test.points, &test.labels, 500, device)?.total();
        let logits = predict(model, 300, 300, |_| Ok(examples.points.clone()))?;
        Ok((errors, logits))
    };
    let (teacher, logits) = fit(vec![128, 128], &HardTargets::default(), &train)?;
    let (alone, _) = fit(vec![12, 12], &HardTargets::default(), &train)?;
    train.teacher_logits = Some(logits);
    let soft =
        SoftTargets::new(soft_targets::Spec { temperature: 4., soft_weight: 1., hard_weight: 0.1 });
    let (distilled, _) = fit(vec![12, 12], &soft, &train)?;
    println!(
        "errors of {}: teacher {teacher}, student alone {alone}, student distilled {distilled}",
        test.labels.len()
    );
    Ok(())
}
