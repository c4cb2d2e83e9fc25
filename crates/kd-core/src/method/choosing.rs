//! Which method for which case.
//!
//! What a method looks at decides where it can be used and what a step costs; this page sorts them
//! by that. What they reach is in `results/reviewkd-cifar/README.md`.
//!
//! # By what there is
//!
//! - **Only the teacher's logits**, perhaps stored, or from another program: the methods on logits.
//!   They ask nothing of the architectures but the same classes. Without augmentation, or with
//!   [`stored_outputs`](crate::stored_outputs), the teacher need not run at all.
//! - **Both networks, of one architecture**: all of them. [`fsp`](super::fsp) is for this case alone:
//!   its maps must have the same channels.
//! - **Both networks, of different architectures**: methods on logits, on the pooled vectors, or with
//!   adapters ([`review`](super::review), [`vid`](super::vid), [`simkd`](super::simkd)).
//!   [`ofd`](super::ofd) wants maps before their activations, which MobileNetV2 does not have.
//! - **A network of one's own**: a method on logits needs nothing of it. One on pooled vectors needs
//!   its tap `pooled`; one on stages its taps `stage1` and so on.
//! - **Few images of a class in a batch, or very small batches**: not the methods that compare the
//!   images of a batch with each other ([`sp`](super::sp), [`cc`](super::cc), [`rkd`](super::rkd),
//!   [`pkt`](super::pkt), [`dist`](super::dist), [`luminet`](super::luminet),
//!   [`itrd`](super::itrd), [`mlkd`](super::mlkd), [`skd`](super::skd)).
//!
//! # On logits
//!
//! | method | what it compares | beside the student |
//! |---|---|---|
//! | [`soft_targets`](super::soft_targets) | softened predictions; `standardised` for logit standardisation, `entropy-weights` for weights by entropy | – |
//! | [`dkd`](super::dkd) | the true class and the order of the others, weighed apart | – |
//! | [`nkd`](super::nkd) | the true class, as far as the teacher trusts it, and the others | – |
//! | [`rld`](super::rld) | how sure the teacher is, and the classes that it holds for less likely than the true one: a teacher that is wrong misleads less | – |
//! | [`dist`](super::dist) | predictions up to scale and shift, of each image and of each class over the batch | – |
//! | [`luminet`](super::luminet) | predictions after each class's logits are normalised over the batch | – |
//! | [`ttm`](super::ttm), [`norm_kd`](super::norm_kd), [`abkd`](super::abkd) | predictions, by a power, by a temperature of each image, by another divergence | – |
//! | [`gkl`](super::gkl) | differences of the logits of two classes | with class means, two numbers for each pair of classes |
//! | [`ctkd`](super::ctkd) | softened predictions at a temperature that works against the student | one number that trains |
//! | [`wkd_l`](super::wkd_l) | the true class, and what it costs to bring the others from one to the other, by how alike the teacher sees them | one pass of the teacher over the training set first, whose maps are kept until it ends, and one number for each pair of classes |
//! | [`skd`](super::skd) | softened predictions, and which images are alike | a system of equations as large as the batch, on the CPU |
//! | [`logit_regression`](super::logit_regression) | the logits themselves | – |
//! | [`mlkd`](super::mlkd) | predictions at five temperatures, images and classes with each other | a second view of each image through both networks |
//!
//! # On the pooled vectors
//!
//! | method | what it compares | beside the student |
//! |---|---|---|
//! | [`rkd`](super::rkd), [`pkt`](super::pkt) | distances and angles, or how alike images are | – |
//! | [`cc`](super::cc), [`itrd`](super::itrd) | correlations | embeddings |
//! | [`crd`](super::crd) | images with a memory of all others | two embeddings, and two memories as long as the training set |
//! | [`nd`](super::nd) | length and direction towards the class's centre, beside any other method | one pass of the teacher over the training set first |
//!
//! # On maps
//!
//! | method | which | beside the student |
//! |---|---|---|
//! | [`fitnet`](super::fitnet), [`vid`](super::vid), [`ofd`](super::ofd) | one stage or all | an adapter for each |
//! | [`at`](super::at), [`nst`](super::nst), [`sp`](super::sp) | stages, up to their channels | – |
//! | [`review`](super::review) | each stage of the teacher beside all deeper ones of the student | a fusion for each level, the most parameters of all |
//! | [`ab`](super::ab), [`fsp`](super::fsp), [`ft`](super::ft) | stages, in a phase before the training proper | adapters, and the phase's epochs |
//! | [`sdd`](super::sdd), [`cat_kd`](super::cat_kd) | what the classifiers say of parts of the last map | – |
//! | [`simkd`](super::simkd) | the last map | a projector and the teacher's classifier, which are deployed |
//! | [`wkd_f`](super::wkd_f) | means and deviations of the last map's channels; [`wkd_l`](super::wkd_l) can have them too | an adapter |
//! | [`norm`](super::norm) | the last map, many to one | a branch, folded into the classifier at the end |
//!
//! # What a step takes
//!
//! Measured from ResNet56 to ResNet20 with 128 images on two cores: the time over that of a step of
//! the student alone, and the most memory (table `cost` in `results/reviewkd-cifar`). A teacher that
//! runs beside its student is most of what is added: the 0.7 of the 1.7 of
//! [`soft_targets`](super::soft_targets). [`stored_outputs`](crate::stored_outputs) spare it.
//!
//! | method | time | MiB |
//! |---|---|---|
//! | on logits and on pooled vectors, but those below; [`fitnet`](super::fitnet), [`at`](super::at), [`sp`](super::sp), [`nst`](super::nst), [`simkd`](super::simkd), [`cat_kd`](super::cat_kd), [`wkd_f`](super::wkd_f) | 1.7 to 1.85 | 221 to 234 |
//! | [`sdd`](super::sdd) | 1.8 | 221 |
//! | [`vid`](super::vid) | 1.9 | 261 |
//! | [`norm`](super::norm) | 2.0 | 270 |
//! | [`ft`](super::ft) | 2.0 | 247 |
//! | [`review`](super::review) | 2.1 to 2.2 | 371 |
//! | [`ab`](super::ab), [`fsp`](super::fsp), first phase | 2.1 | 316, 260 |
//! | [`crd`](super::crd) | 2.1 | 270 |
//! | [`ofd`](super::ofd) | 2.4 | 433 |
//! | [`soft_targets`](super::soft_targets) with the optimiser `dot`, which takes two backward passes | 2.5 | 223 |
//! | [`mlkd`](super::mlkd) | 3.5 | 411 |
//!
//! # The next one
//!
//! `CONTRIBUTING.md` has the steps; [`fitnet`](super::fitnet) is the file to begin from, or
//! [`ttm`](super::ttm) for a method on logits. The loss is a pure function in [`crate::loss`] with
//! laws, finite differences and values of a PyTorch program; the method's file is wiring.
