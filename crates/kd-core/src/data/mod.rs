//! Data sets, where they come from, and how a batch is cut from them.
//!
//! [`mnist::load`] and [`cifar::load`] are the entries: they find, download or generate a data set
//! and say which of the three they did; [`image_folder::load`] reads pictures of one's own. [`jitter`] and [`crop_flip`] write batches, [`split`]
//! chooses rows. Every choice is a pure function of an explicit seed.

mod candle_dataset;
pub mod cifar;
mod counter;
pub mod crop_flip;
pub mod error;
pub mod facts;
pub mod gunzip;
pub mod hub;
pub mod image_examples;
pub mod image_folder;
pub mod images;
pub mod jitter;
pub mod mnist;
pub mod normalisation;
pub mod normalised;
pub mod on_demand;
pub mod page_headers;
mod pooled;
pub mod provenance;
pub mod published;
pub mod rand_augment;
pub mod split;
pub mod table;
pub mod trained_on;
mod validation;
pub mod views;

pub use cifar::Cifar;
pub use crop_flip::CropFlip;
pub use error::DataError;
pub use facts::{FactExamples, Facts, Standardisation};
pub use image_examples::ImageExamples;
pub use image_folder::ImageFolder;
pub use images::{CoarseLabels, LabelledImages};
pub use mnist::Mnist;
pub use normalisation::Normalisation;
pub use normalised::NormalisedExamples;
pub use on_demand::OnDemand;
pub use pooled::pooled;
pub use provenance::{Known, Provenance};
pub use rand_augment::StrongView;
pub use trained_on::TrainedOn;
pub use validation::Validation;
pub use views::Views;
