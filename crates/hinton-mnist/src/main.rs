//! Hinton, Vinyals and Dean 2015 on MNIST.
fn main() {}
