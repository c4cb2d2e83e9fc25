//! Losses: pure functions of tensors and numbers. They take logits, never probabilities, and know
//! no model or configuration.
//!
//! Those with a kernel of their own live in `kd-kernels` and are named here, so that this is the
//! place to look for a loss.

pub mod activation_boundary;
pub mod alignment;
pub mod alpha_beta;
pub mod attention;
pub mod cells;
pub mod class_activation;
pub mod contrastive;
pub mod correlation;
pub mod decoupled;
pub mod divergences;
pub mod entropy_weights;
pub mod factor_transfer;
pub mod gaussian;
pub mod gram_direction;
pub mod hierarchical_context;
pub mod hint;
pub mod information_theoretic;
pub mod learnt_temperature;
pub mod logit_differences;
pub mod logit_regression;
pub mod multi_level;
pub mod n_to_one;
pub mod neuron_selectivity;
pub mod norm_direction;
pub mod normalised;
pub(crate) mod operands;
pub mod overhaul;
pub mod pearson;
pub mod perception;
pub mod probabilistic;
pub mod refined;
pub mod relational;
pub mod similarity;
pub mod soft_cross_entropy;
pub mod solution_flow;
pub mod standardisation;
#[cfg(test)]
mod testing;
pub mod transformed_teacher;
pub mod transport;
pub mod variational;

pub use activation_boundary::activation_boundary;
pub use alpha_beta::alpha_beta_divergence;
pub use attention::attention_transfer;
pub use class_activation::class_activation;
pub use correlation::correlation_congruence;
pub use decoupled::decoupled;
pub use factor_transfer::factor_transfer;
pub use gaussian::gaussian_distances;
pub use gram_direction::gram_direction;
pub use hierarchical_context::hierarchical_context;
pub use hint::hint;
pub use kd_kernels::cross_entropy::cross_entropy;
pub use kd_kernels::softened_kl::softened_kl;
pub use logit_regression::logit_regression;
pub use n_to_one::n_to_one;
pub use neuron_selectivity::neuron_selectivity;
pub use norm_direction::norm_and_direction;
pub use overhaul::overhaul;
pub use perception::perception_divergence;
pub use probabilistic::probabilistic_transfer;
pub use relational::relational;
pub use similarity::similarity_preserving;
pub use soft_cross_entropy::soft_cross_entropy;
pub use solution_flow::solution_flow;
pub use standardisation::{normalised_temperature, standardised};
pub use transformed_teacher::{transformed_teacher, weighted_transformed_teacher};
pub use transport::transport_of_others;
pub use variational::variational_information;
