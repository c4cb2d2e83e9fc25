//! Distils on a data set of `candle_datasets`: a folder of MNIST's files, or generated digits.
//! `cargo run -p kd-core --example candle_dataset [FOLDER]`
use candle_core::Device;
use candle_datasets::vision::{self, Dataset};
use kd_core::Result;
use kd_core::data::mnist::embedded::{Embedded, generate};
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{Context, Recipe, hard_targets, soft_targets};
use kd_core::model::Model;
use kd_core::model::mlp::{Mlp, MlpSpec, WeightInit};
use kd_core::params::Params;
use kd_core::seed::Seed;
use kd_core::train::{Fit, OptimizerSpec, Schedule, TrainSpec, evaluate};

fn main() -> Result<()> {
    let device = &Device::Cpu;
    let data: Dataset = match std::env::args().nth(1) {
        Some(folder) => vision::mnist::load_dir(folder)?,
        None => (&generate(&Embedded { train: 2000, test: 2000, seed: 0 })).try_into()?,
    };
    let test_labels = data.test_labels.to_vec1::<u8>()?;
    let recipe = TrainSpec {
        epochs: 10,
        batch_size: 50,
        learning_rate: 0.05,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 0,
        optimizer: OptimizerSpec::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0. },
        max_norm: 0.,
        average_epochs: 0,
    };
    let net = |units: usize| MlpSpec {
        inputs: 28 * 28,
        hidden: vec![units; 2],
        classes: data.labels,
        dropout_input: 0.,
        dropout_hidden: 0.,
        init: WeightInit::HeNormal,
    };
    // Trains a net of so many units a layer, and prints its errors.
    let fit = |name: &str, units: usize, recipe_of: &dyn Recipe, teacher: Option<&Teacher>| {
        let (params, vb) = Params::seeded(Seed(1), device);
        let model = &Mlp::new(&net(units), vb.clone())?;
        let method = recipe_of.build(&Context::new(model, teacher, &[], &params, &vb))?;
        let fit = Fit::new(model, &params, &*method, &data, &recipe, Seed(1), device);
        Fit { teacher, ..fit }.run(&mut ())?;
        let errors = evaluate(model, &data.test_images, &test_labels, 500, device)?;
        println!("{name}: {} errors of {}", errors.total(), errors.of);
        params.without("method.").snapshot()
    };
    let weights = fit("teacher", 256, &hard_targets::Spec {}, None)?;
    let of_this_kind = |vb| Ok(Box::new(Mlp::new(&net(256), vb)?) as Box<dyn Model>);
    let teacher = Frozen::build(weights, device, of_this_kind)?;
    fit("student alone", 16, &hard_targets::Spec {}, None)?;
    let soft = soft_targets::Spec {
        temperature: 4.,
        soft_weight: 1.,
        hard_weight: 0.1,
        ..Default::default()
    };
    fit("student of the teacher", 16, &soft, Some(&teacher))?;
    Ok(())
}
