//! Knowledge review into a network of one's own, on generated images.
//! `cargo run -p kd-core --example review_into_your_own`
use candle_core::{Device, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, Linear, Module, VarBuilder, conv2d, linear};
use kd_core::data::cifar::embedded::{Embedded, generate};
use kd_core::data::{CropFlip, Normalisation, NormalisedExamples};
use kd_core::frozen::Frozen;
use kd_core::method::review::{Distance, Fuse, Side, Spec, Structure};
use kd_core::method::{Context, MethodSpec, Recipe, hard_targets};
use kd_core::model::{About, Activated, Mode, Model, NetworkSpec, Outputs, Tap};
use kd_core::train::{Fit, OptimizerSpec, Schedule, TrainSpec, evaluate};
use kd_core::{Result, Seed, params::Params};

/// Your network: three convolutions and a classifier. Review finds its stages by their taps.
struct Mine(Vec<Conv2d>, Linear, About);
impl Mine {
    fn new(vb: VarBuilder) -> Result<Self> {
        let halve = Conv2dConfig { stride: 2, padding: 1, ..Conv2dConfig::default() };
        let (mut convs, mut taps, mut from) = (Vec::new(), Vec::new(), 3);
        for (name, channels, stride) in [("stage1", 16, 2), ("stage2", 32, 4), ("stage3", 64, 8)] {
            convs.push(conv2d(from, channels, 3, halve, vb.pp(name))?);
            let (name, activated) = (name.to_owned(), Activated::After);
            taps.push(Tap { name, channels, stride, activated, norm: None });
            from = channels;
        }
        taps.push(Tap { name: "pooled".into(), stride: 0, ..taps[2].clone() });
        let about = About { taps, classes: 5, multiply_adds: 0 };
        Ok(Self(convs, linear(64, 5, vb.pp("classifier"))?, about))
    }
}
impl Model for Mine {
    fn about(&self) -> &About {
        &self.2
    }
    fn forward(&self, xs: &Tensor, taps: &[&str], _: Mode) -> Result<Outputs> {
        let (mut all, mut xs) = (Vec::new(), xs.clone());
        for conv in &self.0 {
            xs = conv.forward(&xs)?.relu()?;
            all.push(xs.clone());
        }
        all.push(xs.mean((2, 3))?);
        let logits = self.1.forward(&all[3])?;
        let tap = |name: &&str| Ok(all[self.tap_index(name)?].clone());
        Ok(Outputs { logits, taps: taps.iter().map(tap).collect::<Result<_>>()? })
    }
}
fn main() -> Result<()> {
    let (device, data) = (&Device::Cpu, generate(&Embedded { train: 8000, test: 4000, seed: 0 }));
    // The first five of the twenty classes.
    let five = |n: u32| (0..n).filter(|i| i % 20 < 5).collect::<Vec<u32>>();
    let (images, rows, test) = (&data.train, five(8000), data.test.subset(&five(4000))?);
    let (normalisation, augmentation) = (Normalisation::Crd, CropFlip { padding: 2, flip: true });
    let examples = NormalisedExamples { images, rows, normalisation, augmentation, views: None };
    #[rustfmt::skip]
    let optimizer = OptimizerSpec::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0., decoupled: false };
    #[rustfmt::skip]
    let spec = TrainSpec { epochs: 6, batch_size: 32, learning_rate: 2e-3, schedule: Schedule::Cosine {}, warm_up_epochs: 1, optimizer, max_norm: 0., average_epochs: 0 };
    let pixels = normalisation.range_to_tensor(&test, 0..test.len(), device)?;
    let train = |teacher: Option<&_>, method: MethodSpec, student: Option<&NetworkSpec>| {
        let (params, vb) = Params::seeded(Seed(1), device);
        let model: Box<dyn Model> = match student {
            Some(spec) => spec.build(vb.clone())?,
            None => Box::new(Mine::new(vb.clone())?),
        };
        let method = method.build(&Context::new(&*model, teacher, &[], &params, &vb))?;
        let fit = Fit::new(&*model, &params, &*method, &examples, &spec, Seed(1), device);
        Fit { teacher, ..fit }.run(&mut ())?;
        let errors = evaluate(&*model, &pixels, &test.labels, 250, device)?.total();
        Ok::<_, kd_core::Error>((errors, params.without("method.").snapshot()?))
    };
    let big = NetworkSpec::from_name("resnet8", 5)?;
    let (of_teacher, weights) = train(None, hard_targets::Spec {}.into(), Some(&big))?;
    let teacher = Frozen::build(weights, device, |vb| big.build(vb))?;
    let (alone, _) = train(None, hard_targets::Spec {}.into(), None)?;
    #[rustfmt::skip]
    let review = Spec { weight: 0.6, warm_up_epochs: 2, hard_weight: 1., soft: None, structure: Structure::Residual, fusion: Fuse::Attention, distance: Distance::Hierarchical, channels: 64, student_taps: Side::After, teacher_taps: Side::Before };
    let (reviewed, _) = train(Some(&teacher), review.into(), None)?;
    println!("errors of 1000: teacher {of_teacher}, alone {alone}, with review {reviewed}");
    Ok(())
}
