//! Reading data from files and servers: round trips, each kind of bad input with its message, and
//! mutated bytes.

mod allocations;
mod cifar;
mod cifar_fixtures;
mod cifar_hub;
mod fixtures;
mod hub;
mod idx;
mod image_folder;
mod real;
mod strong_view;
mod table;
