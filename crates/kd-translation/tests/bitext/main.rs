//! Parallel text from files, from the hub's cache and from the generator: round trips, each kind of
//! bad input with its message, mutated bytes, and how much memory streaming takes.

mod allocations;
mod directory;
mod fixtures;
mod hub;
mod lines;
mod real;
mod toy;
mod translations;
