//! Training: the loop on toy problems, in one phase and in several, and ten steps of whole networks
//! beside PyTorch's.

#[path = "../formula/mod.rs"]
mod formula;

mod conv_trajectory;
mod fit;
mod mlp_trajectory;
mod own_method;
mod phases;
mod review_trajectory;
mod toy;
