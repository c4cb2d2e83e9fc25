//! CIFAR as the hub's tables: the data sets `uoft-cs/cifar10` and `uoft-cs/cifar100`.

use super::set::{Cifar, Kind, SIDE};
use crate::data::DataError;
use crate::data::hub::{Files, Repo};
use crate::data::table::{self, TableSchema};

impl Kind {
    /// Where it is on the hub.
    pub fn repo(self) -> Repo {
        let (name, files, sha256): (_, _, &[&str]) = match self {
            Self::Cifar10 => {
                ("cifar10", ["plain_text/train/0000.parquet", "plain_text/test/0000.parquet"], &[])
            }
            Self::Cifar100 => (
                "cifar100",
                ["cifar100/train/0000.parquet", "cifar100/test/0000.parquet"],
                // Of commit c8ffd9a6a77798a72ca568e8949c005bca4ca855.
                &[
                    "3f742af9c991d06bfd3e2b775b31150df4dcf9c271261366465ab563d3d9f862",
                    "7797cfccf4a2376d68937462e351b8c9ec8f75c5acee5f7ab3de65e9a86822bf",
                ],
            ),
        };
        let main = match self {
            Self::Cifar10 => [
                "plain_text/train-00000-of-00001.parquet",
                "plain_text/test-00000-of-00001.parquet",
            ],
            Self::Cifar100 => {
                ["cifar100/train-00000-of-00001.parquet", "cifar100/test-00000-of-00001.parquet"]
            }
        };
        Repo { owner: "uoft-cs", name, files, main, sha256 }
    }

    /// What its tables hold.
    pub fn schema(self) -> TableSchema {
        let (label, coarse) = match self {
            Self::Cifar10 => ("label", None),
            Self::Cifar100 => ("fine_label", self.groups().map(|n| ("coarse_label", n))),
        };
        TableSchema {
            image: "img.bytes",
            label,
            classes: self.classes(),
            coarse,
            channels: 3,
            rows: SIDE,
            cols: SIDE,
        }
    }
}

/// Reads both files; `original` says whether anything but the original is an error.
///
/// # Errors
/// As [`table::read`], and [`DataError::Content`] where they hold something other than
/// [`Kind::original`].
pub fn read(kind: Kind, files: &Files, original: bool) -> Result<Cifar, DataError> {
    let schema = kind.schema();
    let cifar = Cifar {
        train: table::read(&files.train, &schema)?,
        test: table::read(&files.test, &schema)?,
    };
    let got = kind.describe(&cifar);
    if original && got != kind.original() {
        let (dataset, expected) = (kind.title(), kind.original().to_string());
        return Err(DataError::Content {
            found: files.train.display().to_string(),
            dataset,
            expected,
            got,
        });
    }
    Ok(cifar)
}
