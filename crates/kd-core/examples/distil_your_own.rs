//! Distils with data and a method of one's own: a small net learns two spirals from a larger one.
//! `cargo run -p kd-core --example distil_your_own`
use candle_core::{Device, Tensor};
use candle_nn::Init;
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{
    Context, Distillation, Recipe, Step, Teaching, Term, Wants, hard_targets, soft_targets,
};
use kd_core::model::Model;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::Params;
use kd_core::seed::{Seed, StepSeed};
use kd_core::train::{Batch, Examples, Fit, OptimizerSpec, Schedule, TrainSpec, evaluate};
use kd_core::{Error, Result, loss};

/// Any data will do: say how many examples there are, and make a batch of some of them.
struct Spirals {
    points: Tensor,
    labels: Vec<u8>,
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
        Ok(Self { points, labels: (0..n).map(|i| (i % 2) as u8).collect() })
    }
}

impl Examples for Spirals {
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let index = Tensor::new(rows, device)?;
        let labels: Vec<u32> = rows.iter().map(|&r| self.labels[r as usize].into()).collect();
        Ok(Batch {
            inputs: self.points.index_select(&index, 0)?,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            // For a teacher whose logits are stored; here it sees each batch itself.
            teacher_logits: None,
        })
    }
}

/// A method of one's own: beside the labels and softened logits, the student's last hidden layer,
/// brought to the teacher's width by a matrix that trains with it, comes near the teacher's.
struct Hint {
    wants: Wants,
    adapter: Tensor,
    temperature: f64,
    weight: f64,
}

const TAP: &str = "hidden.1";

impl Hint {
    fn new(context: &Context, temperature: f64, weight: f64) -> Result<Self> {
        let width = context.student().tap(TAP)?.channels;
        let shape = (width, context.teacher_model()?.tap(TAP)?.channels);
        let init = Init::Randn { mean: 0., stdev: (1. / width as f64).sqrt() };
        // What is made here trains, resumes and is averaged with the student, and is left out of
        // its file.
        let adapter = context.vb().get_with_hints(shape, "adapter", init)?;
        let (student_taps, taps) = (vec![TAP.into()], vec![TAP.into()]);
        let wants = Wants { student_taps, teaching: Teaching::Live { taps }, ..Wants::default() };
        Ok(Self { wants, adapter, temperature, weight })
    }
}

impl Distillation for Hint {
    fn wants(&self) -> &Wants {
        &self.wants
    }
    fn terms(&self, step: &Step) -> Result<Vec<Term>> {
        let (student, teacher) = (step.student()?, step.teacher()?);
        let hint = loss::hint(&student.taps[0].matmul(&self.adapter)?, &teacher.taps[0])?;
        let soft = loss::softened_kl(&student.logits, &teacher.logits, self.temperature)?;
        let hard = loss::cross_entropy(&student.logits, step.labels)?;
        Ok(vec![
            Term::task("hard", hard, 0.1),
            Term::teacher("soft", soft, 1.),
            Term::teacher("hint", hint, self.weight),
        ])
    }
}

/// How the networks are trained.
fn recipe() -> TrainSpec {
    TrainSpec {
        epochs: 150,
        batch_size: 20,
        learning_rate: 0.02,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0. },
        max_norm: 0.,
        average_epochs: 0,
    }
}

fn main() -> Result<()> {
    let (device, recipe) = (&Device::Cpu, recipe());
    let (train, test) = (Spirals::new(300, Seed(1))?, Spirals::new(2000, Seed(2))?);
    let net = |units: usize| MlpSpec {
        inputs: 2,
        hidden: vec![units; 2],
        classes: 2,
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    };
    // Trains a net of so many units a layer; `method` is built for it.
    type Build<'a> = &'a dyn Fn(&Context) -> Result<Box<dyn Distillation>>;
    let fit = |units: usize, seed: Seed, teacher: Option<&Teacher>, build: Build| {
        let (params, vb) = Params::seeded(seed, device);
        let model = &Mlp::new(&net(units), vb.clone())?;
        let method = build(&Context::new(model, teacher, &[], &params, &vb))?;
        let fit = Fit::new(model, &params, &*method, &train, &recipe, seed, device);
        Fit { teacher, ..fit }.run(&mut ())?;
        let errors = evaluate(model, &test.points, &test.labels, 500, device)?.total();
        Ok::<_, Error>((errors, params.without("method.").snapshot()?))
    };
    let hard = |context: &Context| hard_targets::Spec {}.build(context);
    let soft = soft_targets::Spec {
        temperature: 4.,
        soft_weight: 1.,
        hard_weight: 0.1,
        ..Default::default()
    };
    let (of_teacher, weights) = fit(128, Seed(7), None, &hard)?;
    let of_this_kind = |vb| Ok(Box::new(Mlp::new(&net(128), vb)?) as Box<dyn Model>);
    let teacher = Frozen::build(weights, device, of_this_kind)?;
    println!("errors of {}: teacher {of_teacher}", test.labels.len());
    for seed in [1, 2, 3].map(Seed) {
        let (alone, _) = fit(12, seed, None, &hard)?;
        let (softened, _) = fit(12, seed, Some(&teacher), &|context| soft.build(context))?;
        let own: Build = &|context| Ok(Box::new(Hint::new(context, 4., 1.)?));
        let (hinted, _) = fit(12, seed, Some(&teacher), own)?;
        println!("student {}: alone {alone}, soft targets {softened}, own method {hinted}", seed.0);
    }
    Ok(())
}
