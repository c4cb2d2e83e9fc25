//! Methods on small networks: their terms, what they train, what they remember, and what they
//! refuse.

mod ab;
mod crd;
mod dot;
mod fsp;
mod ft;
mod ofd;
mod pair;
