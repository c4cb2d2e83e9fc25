//! Networks with declared taps.
//!
//! A network publishes its taps (inner tensors that a distillation method can ask for by name) with
//! the shape each will have, so a method derives its adapters and no shape is typed into a
//! configuration.

pub mod fact_mlp;
mod fold;
pub mod head;
pub mod interface;
pub(crate) mod layers;
pub mod mlp;
pub mod mobilenet_v2;
pub mod resnet50;
pub mod resnet_cifar;
pub mod shufflenet_v1;
pub mod shufflenet_v2;
pub mod spec;
mod tap_request;
pub mod vgg;
pub mod wide_resnet;

pub use fact_mlp::{FactMlp, FactMlpSpec};
pub use head::{EXPANDED, HeadSpec};
pub use interface::{About, Activated, Classifier, LAST, MAX_WEIGHTS, Mode, Model, Outputs, Tap};
pub use mlp::{Mlp, MlpSpec};
pub use resnet_cifar::Shortcut;
pub use spec::NetworkSpec;
