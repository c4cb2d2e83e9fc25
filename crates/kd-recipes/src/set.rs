//! The two data sets, and which table is of which.

use kd_core::{Error, Result};

/// A data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Digits: every table but one.
    Mnist,
    /// CIFAR-100, for its superclasses.
    Cifar100,
}

/// The one table that is not of MNIST.
const SUPERCLASS: &str = "fact-augmentation-superclass";

impl Set {
    /// The data set of a table.
    pub fn of(table: &str) -> Self {
        if table == SUPERCLASS { Self::Cifar100 } else { Self::Mnist }
    }

    /// The data sets that `--data` asks for, whose tables a command is about. `directory` is
    /// whether there is a `--data-dir`.
    ///
    /// # Errors
    /// Bad input when a directory is given and it isn't said of what.
    pub fn named(data: &str, directory: bool) -> Result<Vec<Self>> {
        match data {
            "mnist" => Ok(vec![Self::Mnist]),
            "cifar100" => Ok(vec![Self::Cifar100]),
            other if directory => Err(Error::bad_input(format!(
                "--data-dir: expected --data mnist or cifar100 beside it, got {other}"
            ))),
            _ => Ok(vec![Self::Mnist, Self::Cifar100]),
        }
    }
}
