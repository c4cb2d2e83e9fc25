//! A student, its frozen teacher and a dozen images, on which one step of a method can be looked
//! at.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use kd_core::frozen::{Frozen, Teacher};
use kd_core::method::{Context, Distillation, MethodSpec, Recipe, Step, Teaching, Term};
use kd_core::model::{Mode, Model, NetworkSpec, Outputs};
use kd_core::params::Params;
use kd_core::seed::StepSeed;
use kd_core::train::{Batch, Examples, OptimizerSpec, Schedule, TrainSpec};
use kd_core::{Result, Seed};

/// Images of the data set, of [`CLASSES`] classes, one after the other.
pub const IMAGES: usize = 12;
pub const CLASSES: usize = 3;

/// The classes of the images.
pub fn labels() -> Vec<u8> {
    (0..IMAGES).map(|i| (i % CLASSES) as u8).collect()
}

pub struct Pair {
    pub params: Params,
    vb: VarBuilder<'static>,
    pub student: Box<dyn Model>,
    pub teacher: Teacher,
}

impl Pair {
    /// Networks of these names; what they begin with is drawn.
    pub fn new(student: &str, teacher: &str) -> Result<Self> {
        let (params, vb) = Params::seeded(Seed(7), &Device::Cpu);
        let student = NetworkSpec::from_name(student, CLASSES)?.build(vb.clone())?;
        let spec = NetworkSpec::from_name(teacher, CLASSES)?;
        let (weights, builder) = Params::seeded(Seed(8), &Device::Cpu);
        spec.build(builder)?;
        // Not all norms 1 and 0.
        let moved = |(name, t): (String, Tensor)| -> Result<(String, Tensor)> {
            let noise = noise(t.dims(), &name)?;
            Ok(if t.rank() == 1 && !name.ends_with("running_var") {
                (name, (t + (noise * 0.3)?)?)
            } else {
                (name, t)
            })
        };
        let tensors =
            weights.snapshot()?.into_iter().map(moved).collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Self {
            params,
            vb,
            student,
            teacher: Frozen::build(tensors, &Device::Cpu, |vb| spec.build(vb))?,
        })
    }

    pub fn vb(&self) -> &VarBuilder<'static> {
        &self.vb
    }

    /// The method that an experiment file writes so.
    pub fn method(&self, toml: &str) -> Result<Box<dyn Distillation>> {
        let labels = labels();
        spec(toml).build(&Context::new(
            &*self.student,
            Some(&self.teacher),
            &labels,
            &self.params,
            &self.vb,
        ))
    }

    /// The message of the error that building it ends in.
    #[track_caller]
    pub fn refused(&self, toml: &str) -> String {
        let error = self.method(toml).err().expect("refused");
        assert!(error.is_bad_input() && !error.to_string().contains('\n'), "{error}");
        error.to_string()
    }

    /// One step's outputs on images `numbers`, as the loop makes them.
    pub fn outputs(
        &self,
        method: &dyn Distillation,
        numbers: &[u32],
        draws: StepSeed,
    ) -> Result<(Option<Outputs>, Option<Outputs>)> {
        let (wants, inputs) = (method.wants(), images(numbers)?);
        fn names(taps: &[String]) -> Vec<&str> {
            taps.iter().map(String::as_str).collect()
        }
        let student = if wants.student {
            Some(self.student.forward(&inputs, &names(&wants.student_taps), Mode::Train(draws))?)
        } else {
            None
        };
        let teacher = match &wants.teaching {
            Teaching::None => None,
            Teaching::Logits => Some(self.teacher.forward(&inputs, &[])?),
            Teaching::Live { taps } => Some(self.teacher.forward(&inputs, &names(taps))?),
        };
        Ok((student, teacher))
    }

    /// The terms of one step, and what the method remembers of it, if it is to; `look` sees the
    /// taps.
    pub fn step(
        &self,
        method: &dyn Distillation,
        numbers: &[u32],
        step: usize,
        look: impl FnOnce(&Step) -> Result<()>,
    ) -> Result<Vec<Term>> {
        let draws = StepSeed { seed: Seed(3), epoch: 0, step };
        let (student, teacher) = self.outputs(method, numbers, draws)?;
        let labels = Tensor::new(
            numbers.iter().map(|n| n % CLASSES as u32).collect::<Vec<_>>(),
            &Device::Cpu,
        )?;
        let step = Step {
            student: student.as_ref(),
            teacher: teacher.as_ref(),
            second: None,
            labels: &labels,
            numbers,
            epoch: 0,
            draws,
        };
        let terms = method.terms(&step)?;
        look(&step)?;
        method.remember(&step)?;
        Ok(terms)
    }

    /// The names of the parameters that the sum of the terms has a gradient of that is not 0.
    pub fn pulled(&self, terms: &[Term]) -> Result<BTreeSet<String>> {
        let mut loss = Tensor::new(0f32, &Device::Cpu)?;
        for term in terms {
            loss = (loss + (&term.value * term.weight)?)?;
        }
        let gradients = kd_kernels::backward(&loss)?;
        let mut names = BTreeSet::new();
        for (name, var) in self.params.named() {
            if let Some(gradient) = gradients.get(&var)
                && gradient.abs()?.max_all()?.to_scalar::<f32>()? > 0.
            {
                names.insert(name);
            }
        }
        Ok(names)
    }

    /// The names of the method's parameters.
    pub fn adapters(&self) -> BTreeSet<String> {
        self.params
            .named()
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("method."))
            .collect()
    }

    /// The bits of all parameters and buffers.
    pub fn bits(&self) -> Result<BTreeMap<String, Vec<u32>>> {
        let bits = |t: &Tensor| -> Result<Vec<u32>> {
            Ok(t.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f32::to_bits).collect())
        };
        self.params.snapshot()?.iter().map(|(name, t)| Ok((name.clone(), bits(t)?))).collect()
    }
}

/// A method as an experiment file writes it.
#[track_caller]
pub fn spec(toml: &str) -> MethodSpec {
    toml::from_str(toml).expect("a method")
}

/// Normal numbers for one purpose.
pub fn noise(dims: &[usize], purpose: &str) -> Result<Tensor> {
    let mut values = vec![0f32; dims.iter().product()];
    Seed(5).stream(purpose, 0, 0).fill_normal(0, &mut values);
    Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
}

fn images(numbers: &[u32]) -> Result<Tensor> {
    let images = numbers
        .iter()
        .map(|n| noise(&[1, 3, 32, 32], &format!("image {n}")))
        .collect::<Result<Vec<_>>>()?;
    Ok(Tensor::cat(&images, 0)?)
}

/// The images as a data set.
pub struct Noise;

impl Examples for Noise {
    fn len(&self) -> usize {
        IMAGES
    }

    fn batch(&self, rows: &[u32], _: StepSeed, device: &Device) -> Result<Batch> {
        let labels: Vec<u32> = rows.iter().map(|row| row % CLASSES as u32).collect();
        Ok(Batch {
            inputs: images(rows)?,
            labels: Tensor::new(labels, device)?,
            numbers: rows.to_vec(),
            teacher_logits: None,
        })
    }
}

/// A recipe of this many epochs, in batches of 4.
pub fn train(epochs: usize, optimizer: OptimizerSpec) -> TrainSpec {
    TrainSpec {
        epochs,
        batch_size: 4,
        learning_rate: 0.02,
        schedule: Schedule::Cosine {},
        warm_up_epochs: 0,
        optimizer,
        max_norm: 0.,
        average_epochs: 0,
    }
}

pub const SGD: OptimizerSpec =
    OptimizerSpec::Sgd { momentum: 0.9, nesterov: false, weight_decay: 5e-4 };

pub fn value(term: &Term) -> Result<f64> {
    Ok(f64::from(term.value.to_scalar::<f32>()?))
}

/// The value of the only term of this name.
#[track_caller]
pub fn named(terms: &[Term], name: &str) -> Result<f64> {
    let mut found = terms.iter().filter(|term| term.name == name);
    let term = found.next().expect("a term of this name");
    assert!(found.next().is_none(), "two terms {name}");
    value(term)
}

/// Checks that two values agree to float32's rounding.
#[track_caller]
pub fn close(got: f64, want: f64) {
    assert!((got - want).abs() <= 1e-5 * want.abs(), "{got}, expected {want}");
}
