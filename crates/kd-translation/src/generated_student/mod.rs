//! A Transformer whose weights are computed from a frozen teacher's: weight distillation (Lin et
//! al. 2021).
//!
//! Every weight of the student that is transferred is S = W ⊙ tanh(Z) + B, where Z is a learnt map
//! of the teacher's weights of the same class. [`classes`] says which teacher weights a student
//! weight is computed from, `formula` holds the maps, and [`truncation`] the plainer start that the
//! paper compares with: a part cut out of the teacher.

pub mod classes;
mod formula;
mod spec;
pub mod truncation;

pub use spec::{Form, GeneratorSpec, Start};

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use self::classes::{Half, WeightSource, source_of};
use self::formula::Formula;
use super::transformer::{Positions, Transformer, TransformerSpec};
use kd_core::{Error, Result, params};

/// A student whose weights are computed at every step.
pub struct GeneratedStudent {
    spec: TransformerSpec,
    formulas: BTreeMap<String, Formula>,
    /// Names and shapes of the weights that no formula gives.
    others: Vec<(String, Shape)>,
    rest: VarBuilder<'static>,
    positions: Positions,
    device: Device,
}

impl GeneratedStudent {
    /// The generator of the student `spec` from the tensors of a teacher. Its parameters are drawn
    /// through `vb`, under `generator.`; a weight that is not transferred is drawn there under
    /// its own name, except the last normalisations of pre-norm halves, which begin as the
    /// teacher's where the widths agree.
    ///
    /// # Errors
    /// Bad input when a teacher's tensor is missing, or the halves cannot be paired: fewer teacher
    /// layers than student layers.
    pub fn new(
        spec: &TransformerSpec,
        teacher_spec: &TransformerSpec,
        teacher: &BTreeMap<String, Tensor>,
        generator: &GeneratorSpec,
        vb: &VarBuilder<'static>,
    ) -> Result<Self> {
        let device = vb.device().clone();
        spec.check()?;
        let positions = Positions::new(spec, &device)?;
        // A first build asks for every weight, so that names and shapes are known without a list of
        // them.
        let (_, requested) = build(spec, &positions, HashMap::new(), None, &device)?;
        let mut formulas = BTreeMap::new();
        for (name, tensor) in &requested {
            let source = source_of(name, spec, teacher_spec)?;
            if source.block.is_none() && source.half != Half::Embeddings {
                let value = teacher.get(name).filter(|value| value.dims() == tensor.dims());
                let own = vb.get_with_hints(
                    tensor.shape(),
                    name,
                    Init::Const(if name.ends_with("weight") { 1. } else { 0. }),
                )?;
                if let (Some(value), true) = (value, own.is_variable()) {
                    Var::from_tensor(&own)?.set(value)?;
                }
                continue;
            }
            if !transferred(&source, generator) {
                continue;
            }
            let instances = source.instances.iter().map(|instance| {
                // Detached: a teacher may hold variables, and none of them trains.
                let found = teacher.get(instance).map(Tensor::detach);
                found.ok_or_else(|| {
                    Error::bad_input(format!(
                        "the teacher has no tensor '{instance}', from which {name} is computed"
                    ))
                })
            });
            let instances = instances.collect::<Result<Vec<_>>>()?;
            formulas.insert(
                name.clone(),
                Formula::new(name, &source, tensor.dims(), &instances, generator, vb)?,
            );
        }
        let others = requested.iter().filter(|(name, _)| !formulas.contains_key(*name));
        let others = others.map(|(name, t)| (name.clone(), t.shape().clone())).collect();
        Ok(Self { spec: spec.clone(), formulas, others, rest: vb.clone(), positions, device })
    }

    /// The generator that has these parameters, as constants. They are compared with what it asks
    /// for before anything is computed or drawn: a file may describe a student of any size.
    ///
    /// # Errors
    /// As [`GeneratedStudent::new`], and bad input that names every missing, extra or misshaped
    /// parameter.
    pub fn frozen(
        spec: &TransformerSpec,
        teacher_spec: &TransformerSpec,
        teacher: &BTreeMap<String, Tensor>,
        generator: &GeneratorSpec,
        parameters: BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<Self> {
        params::build_frozen(parameters, device, |vb| {
            let student = Self::new(spec, teacher_spec, teacher, generator, &vb)?;
            for (name, shape) in &student.others {
                vb.get(shape.clone(), name)?;
            }
            Ok(student)
        })
    }

    /// What the student is.
    pub fn spec(&self) -> &TransformerSpec {
        &self.spec
    }

    /// The student with weights computed now. Gradients flow through them to the generator's
    /// parameters; the teacher has none.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn student(&self) -> Result<Transformer> {
        Ok(self.computed()?.0)
    }

    /// The tensors of an ordinary student that computes the same: every formula evaluated once,
    /// without a graph.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn materialise(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(self.computed()?.1.into_iter().map(|(name, tensor)| (name, tensor.detach())).collect())
    }

    fn computed(&self) -> Result<(Transformer, BTreeMap<String, Tensor>)> {
        let computed =
            self.formulas.iter().map(|(name, formula)| Ok((name.clone(), formula.evaluate()?)));
        let computed = computed.collect::<Result<HashMap<_, _>>>()?;
        build(&self.spec, &self.positions, computed, Some(&self.rest), &self.device)
    }
}

fn transferred(source: &WeightSource, spec: &GeneratorSpec) -> bool {
    match source.half {
        Half::Embeddings => spec.embeddings,
        Half::Encoder => source.block.is_some_and(|block| spec.encoder.contains(&block)),
        Half::Decoder => source.block.is_some_and(|block| spec.decoder.contains(&block)),
    }
}

/// A Transformer from computed tensors, and from `rest` where there is none (zeros without it),
/// with all that it asked for.
fn build(
    spec: &TransformerSpec,
    positions: &Positions,
    computed: HashMap<String, Tensor>,
    rest: Option<&VarBuilder<'static>>,
    device: &Device,
) -> Result<(Transformer, BTreeMap<String, Tensor>)> {
    let requested = Arc::new(Mutex::new(BTreeMap::new()));
    let overlay = Overlay { computed, rest: rest.cloned(), requested: requested.clone() };
    let network = Transformer::with_positions(
        spec,
        positions,
        VarBuilder::from_backend(Box::new(overlay), DType::F32, device.clone()),
    )?;
    let requested = std::mem::take(&mut *requested.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((network, requested))
}

/// Computed tensors in front of others.
struct Overlay {
    computed: HashMap<String, Tensor>,
    rest: Option<VarBuilder<'static>>,
    requested: Arc<Mutex<BTreeMap<String, Tensor>>>,
}

impl SimpleBackend for Overlay {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        hint: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = match (self.computed.get(name), &self.rest) {
            (Some(tensor), _) if tensor.shape() == &shape => tensor.clone(),
            (Some(tensor), _) => candle_core::bail!(
                "{name}: computed with shape {:?}, needed with {:?}",
                tensor.dims(),
                shape.dims()
            ),
            (None, Some(rest)) => rest.get_with_hints(shape, name, hint)?,
            (None, None) => Tensor::zeros(shape, dtype, device)?,
        };
        self.requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("parameter {name} asked for without a shape")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.computed.contains_key(name)
            || self.rest.as_ref().is_some_and(|rest| rest.contains_tensor(name))
    }
}
