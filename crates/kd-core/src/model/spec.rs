//! Any network of this crate, by its description or its usual name.

use candle_nn::VarBuilder;
use kd_kernels::conv2d::Precision;
use serde::{Deserialize, Serialize};

use super::mobilenet_v2::MobileNetV2;
use super::resnet_cifar::{ResNetCifar, Shortcut};
use super::resnet50::ResNet50;
use super::shufflenet_v1::ShuffleNetV1;
use super::shufflenet_v2::ShuffleNetV2;
use super::vgg::Vgg;
use super::wide_resnet::WideResNet;
use super::{FactMlp, FactMlpSpec, HeadSpec, Mlp, MlpSpec, Model};
use crate::torch_checkpoint::value::brief;
use crate::{Error, Result};

/// A network, as an experiment file or a saved network describes it: `{ kind = "resnet", depth =
/// 20, width = 1, classes = 100 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields, rename_all = "kebab-case")]
pub enum NetworkSpec {
    /// A multi-layer perceptron.
    Mlp(MlpSpec),
    /// A multi-layer perceptron that takes facts beside its input: [`FactMlp`].
    FactMlp(FactMlpSpec),
    /// A residual network of basic blocks: [`ResNetCifar`].
    #[serde(rename = "resnet")]
    ResNet {
        /// Convolutions and the classifier on the longest path: 6n + 2.
        depth: usize,
        /// 1, or 4 for the networks called x4.
        width: usize,
        /// What is added where the shape changes.
        #[serde(default, skip_serializing_if = "Shortcut::is_projection")]
        shortcut: Shortcut,
        /// Classes.
        classes: usize,
    },
    /// A wide residual network: [`WideResNet`].
    #[serde(rename = "wide-resnet")]
    WideResNet {
        /// Convolutions and the classifier on the longest path: 6n + 4.
        depth: usize,
        /// Channels of the first stage, in units of 16.
        width: usize,
        /// Classes.
        classes: usize,
    },
    /// A VGG network with batch-norm: [`Vgg`].
    Vgg {
        /// 8, 11, 13, 16 or 19.
        depth: usize,
        /// Classes.
        classes: usize,
    },
    /// MobileNetV2 of half the width: [`MobileNetV2`].
    #[serde(rename = "mobilenet-v2")]
    MobileNetV2 {
        /// Classes.
        classes: usize,
    },
    /// ShuffleNetV1 of three groups: [`ShuffleNetV1`].
    #[serde(rename = "shufflenet-v1")]
    ShuffleNetV1 {
        /// Classes.
        classes: usize,
    },
    /// ShuffleNetV2 of the usual width: [`ShuffleNetV2`].
    #[serde(rename = "shufflenet-v2")]
    ShuffleNetV2 {
        /// Classes.
        classes: usize,
    },
    /// ResNet50 with a stem for small images: [`ResNet50`].
    #[serde(rename = "resnet50")]
    ResNet50 {
        /// Classes.
        classes: usize,
    },
    /// An image network with another head than a dense layer; [`NetworkSpec::with_head`] makes it.
    Headed {
        /// The network.
        network: Box<NetworkSpec>,
        /// Its head.
        head: HeadSpec,
    },
}

/// Most classes of a network: a description from a file may say any number, and the classifier's
/// size is a product.
const MAX_CLASSES: usize = 1 << 20;

impl NetworkSpec {
    /// All networks that have a usual name, for this many classes, without those of
    /// [`NetworkSpec::padded`].
    pub fn named(classes: usize) -> Vec<Self> {
        let resnets =
            [(8, 1), (14, 1), (20, 1), (32, 1), (44, 1), (56, 1), (110, 1), (8, 4), (32, 4)];
        let wide = [(16, 1), (16, 2), (40, 1), (40, 2)];
        let mut all: Vec<Self> = resnets
            .into_iter()
            .map(|(depth, width)| {
                let shortcut = Shortcut::Projection;
                Self::ResNet { depth, width, shortcut, classes }
            })
            .collect();
        all.extend(wide.into_iter().map(|(depth, width)| Self::WideResNet {
            depth,
            width,
            classes,
        }));
        all.extend([8, 11, 13, 16, 19].into_iter().map(|depth| Self::Vgg { depth, classes }));
        all.extend([
            Self::MobileNetV2 { classes },
            Self::ShuffleNetV1 { classes },
            Self::ShuffleNetV2 { classes },
        ]);
        all.push(Self::ResNet50 { classes });
        all
    }

    /// The residual networks of [`NetworkSpec::named`] whose shortcuts have no parameters
    /// ([`Shortcut::Pad`]); their names end in `-pad`.
    pub fn padded(classes: usize) -> Vec<Self> {
        let depths = [8, 14, 20, 32, 44, 56, 110];
        let network = |depth| Self::ResNet { depth, width: 1, shortcut: Shortcut::Pad, classes };
        depths.into_iter().map(network).collect()
    }

    /// The network that the literature calls by this name, such as `resnet8x4`, `wrn-40-2` or
    /// `mobilenet-v2`. Case, hyphens and underscores do not matter, and the spellings of the
    /// benchmark's programs (`wrn_40_2`, `MobileNetV2`, `ShuffleV1`) are known. `-pad` behind a
    /// residual network's name is one of [`NetworkSpec::padded`], and `+` with a head's name behind
    /// any of them the network with that head.
    ///
    /// # Errors
    /// Bad input that lists the names there are.
    pub fn from_name(name: &str, classes: usize) -> Result<Self> {
        if let Some((network, head)) = name.split_once('+') {
            return Self::from_name(network, classes)?.with_head(HeadSpec::from_name(head)?);
        }
        let plain = |name: &str| {
            name.to_lowercase().replace(['-', '_'], "").replace("shufflenet", "shuffle")
        };
        let all = Self::named(classes);
        let names = || all.iter().map(Self::name).collect::<Vec<_>>().join(", ");
        let unknown = || {
            let got = brief(name);
            Error::bad_input(format!("network: expected one of {}, got {got}", names()))
        };
        let padded = Self::padded(classes);
        let mut known = all.iter().chain(&padded);
        known.find(|spec| plain(&spec.name()) == plain(name)).cloned().ok_or_else(unknown)
    }

    /// The usual name: `resnet20`, `resnet8x4`, `wrn-40-2`, `mlp-784-1200-1200-10`.
    pub fn name(&self) -> String {
        match self {
            Self::Mlp(spec) => mlp_name("mlp", spec),
            Self::FactMlp(spec) => mlp_name(&format!("fact-mlp-{}", spec.facts), &spec.network),
            Self::ResNet { depth, shortcut: Shortcut::Pad, .. } => format!("resnet{depth}-pad"),
            Self::ResNet { depth, width: 1, .. } => format!("resnet{depth}"),
            Self::ResNet { depth, width, .. } => format!("resnet{depth}x{width}"),
            Self::WideResNet { depth, width, .. } => format!("wrn-{depth}-{width}"),
            Self::Vgg { depth, .. } => format!("vgg{depth}"),
            Self::MobileNetV2 { .. } => "mobilenet-v2".into(),
            Self::ShuffleNetV1 { .. } => "shufflenet-v1".into(),
            Self::ShuffleNetV2 { .. } => "shufflenet-v2".into(),
            Self::ResNet50 { .. } => "resnet50".into(),
            Self::Headed { network, head } => format!("{}+{head}", network.name()),
        }
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        match *self {
            Self::Mlp(MlpSpec { classes, .. })
            | Self::FactMlp(FactMlpSpec { network: MlpSpec { classes, .. }, .. })
            | Self::ResNet { classes, .. }
            | Self::WideResNet { classes, .. }
            | Self::Vgg { classes, .. }
            | Self::MobileNetV2 { classes }
            | Self::ShuffleNetV1 { classes }
            | Self::ShuffleNetV2 { classes }
            | Self::ResNet50 { classes } => classes,
            Self::Headed { ref network, .. } => network.classes(),
        }
    }

    /// Whether a bias of a convolution can be put into the running mean of the batch-norm that is
    /// asked for next: in all image networks here but the wide ones, whose stem also goes past its
    /// batch-norm.
    pub(crate) fn norms_follow_convolutions(&self) -> bool {
        match self {
            Self::Mlp(_) | Self::WideResNet { .. } => false,
            Self::Headed { network, .. } => network.norms_follow_convolutions(),
            _ => true,
        }
    }

    /// The name of the dense layer that makes the logits, in an image network.
    pub(crate) fn dense_name(&self) -> Option<&'static str> {
        match self {
            Self::Mlp(_) | Self::FactMlp(_) => None,
            Self::ResNet { .. } | Self::WideResNet { .. } => Some("fc"),
            Self::Vgg { .. } => Some("classifier"),
            Self::MobileNetV2 { .. } => Some("classifier.0"),
            Self::ShuffleNetV1 { .. } | Self::ShuffleNetV2 { .. } | Self::ResNet50 { .. } => {
                Some("linear")
            }
            Self::Headed { network, .. } => network.dense_name(),
        }
    }

    /// The network with this head in the place of its dense layer.
    ///
    /// # Errors
    /// Bad input when it is no image network or has such a head already, or as
    /// [`HeadSpec::check`].
    pub fn with_head(self, head: HeadSpec) -> Result<Self> {
        head.check()?;
        if self.dense_name().is_none() || matches!(self, Self::Headed { .. }) {
            return Err(Error::bad_input(format!(
                "head: expected an image network with a head of its own kind, got {}",
                self.name()
            )));
        }
        Ok(match head {
            HeadSpec::Linear => self,
            head => Self::Headed { network: Box::new(self), head },
        })
    }

    /// [`NetworkSpec::build_with`] with [`Precision::Precise`].
    ///
    /// # Errors
    /// Those of [`NetworkSpec::build_with`].
    pub fn build(&self, vb: VarBuilder) -> Result<Box<dyn Model>> {
        self.build_with(Precision::Precise, vb)
    }

    /// Builds the network; `precision` is that of its convolutions, and `vb` decides whether its
    /// parameters train.
    ///
    /// # Errors
    /// Bad input when the specification makes no sense.
    pub fn build_with(&self, precision: Precision, vb: VarBuilder) -> Result<Box<dyn Model>> {
        match self {
            Self::Headed { network, head } => {
                // A description from a file may nest them.
                (**network).clone().with_head(*head)?;
                network.build_headed(head, precision, vb)
            }
            _ => self.build_headed(&HeadSpec::Linear, precision, vb),
        }
    }

    /// Builds the network with this head; a perceptron has but its own.
    fn build_headed(
        &self,
        head: &HeadSpec,
        precision: Precision,
        vb: VarBuilder,
    ) -> Result<Box<dyn Model>> {
        if !(2..=MAX_CLASSES).contains(&self.classes()) {
            return Err(Error::bad_input(format!(
                "network: expected 2 to {MAX_CLASSES} classes, got {}",
                self.classes()
            )));
        }
        Ok(match *self {
            Self::Mlp(ref spec) => Box::new(Mlp::new(spec, vb)?),
            Self::FactMlp(ref spec) => Box::new(FactMlp::new(spec, vb)?),
            Self::ResNet { depth, width, shortcut, classes } => {
                Box::new(ResNetCifar::new(depth, width, shortcut, classes, head, precision, vb)?)
            }
            Self::WideResNet { depth, width, classes } => {
                Box::new(WideResNet::new(depth, width, classes, head, precision, vb)?)
            }
            Self::Vgg { depth, classes } => {
                Box::new(Vgg::new(depth, classes, head, precision, vb)?)
            }
            Self::MobileNetV2 { classes } => {
                Box::new(MobileNetV2::new(classes, head, precision, vb)?)
            }
            Self::ShuffleNetV1 { classes } => {
                Box::new(ShuffleNetV1::new(classes, head, precision, vb)?)
            }
            Self::ShuffleNetV2 { classes } => {
                Box::new(ShuffleNetV2::new(classes, head, precision, vb)?)
            }
            Self::ResNet50 { classes } => Box::new(ResNet50::new(classes, head, precision, vb)?),
            Self::Headed { ref network, .. } => network.build_headed(head, precision, vb)?,
        })
    }
}

/// A perceptron's kind, followed by the widths of its layers.
fn mlp_name(kind: &str, spec: &MlpSpec) -> String {
    let widths = [spec.inputs].into_iter().chain(spec.hidden.iter().copied()).chain([spec.classes]);
    widths.fold(kind.to_owned(), |name, width| format!("{name}-{width}"))
}
