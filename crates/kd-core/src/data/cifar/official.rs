//! The four official archives: what is in them, and how their files become a data set.

use std::io::Read;
use std::path::Path;

use super::set::{Cifar, Kind, append};
use super::{binary, python};
use crate::data::{DataError, LabelledImages};
use crate::file_kind;

/// How the files of an archive are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Records of bytes.
    Binary,
    /// Pickles, which torchvision unpacks.
    Python,
}

/// One of the four official archives.
#[derive(Clone, Copy, Debug)]
pub struct Archive {
    /// Which data.
    pub kind: Kind,
    /// How they are written.
    pub format: Format,
    /// The folder in it.
    pub folder: &'static str,
    /// Its own name.
    pub file: &'static str,
    /// Its MD5.
    pub md5: &'static str,
    /// The files of the training set, in order.
    pub train: &'static [&'static str],
    /// The file of the test set.
    pub test: &'static str,
}

const ARCHIVES: [Archive; 4] = [
    Archive {
        kind: Kind::Cifar10,
        format: Format::Binary,
        folder: "cifar-10-batches-bin",
        file: "cifar-10-binary.tar.gz",
        md5: "c32a1d4ab5d03f1284b67883e8d87530",
        train: &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ],
        test: "test_batch.bin",
    },
    Archive {
        kind: Kind::Cifar10,
        format: Format::Python,
        folder: "cifar-10-batches-py",
        file: "cifar-10-python.tar.gz",
        md5: "c58f30108f718f92721af3b95e74349a",
        train: &["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"],
        test: "test_batch",
    },
    Archive {
        kind: Kind::Cifar100,
        format: Format::Binary,
        folder: "cifar-100-binary",
        file: "cifar-100-binary.tar.gz",
        md5: "03b5dce01913d631647c71ecec9e9cb8",
        train: &["train.bin"],
        test: "test.bin",
    },
    Archive {
        kind: Kind::Cifar100,
        format: Format::Python,
        folder: "cifar-100-python",
        file: "cifar-100-python.tar.gz",
        md5: "eb9058c3a382ffc7106e4002c42a8d85",
        train: &["train"],
        test: "test",
    },
];

impl Archive {
    /// The archives of one kind.
    pub fn of(kind: Kind) -> impl Iterator<Item = Self> {
        ARCHIVES.into_iter().filter(move |a| a.kind == kind)
    }

    /// Its files, training set first.
    pub fn files(self) -> impl Iterator<Item = &'static str> {
        self.train.iter().copied().chain([self.test])
    }

    /// Reads one of its files.
    pub(crate) fn read(
        self,
        reader: &mut dyn Read,
        path: &Path,
        fault: &dyn Fn(std::io::Error) -> DataError,
    ) -> Result<LabelledImages, DataError> {
        let (got, mut reader) = file_kind::look(reader).map_err(fault)?;
        if got.is_stand_in() {
            let expected = format!("{} images", self.kind.title());
            return Err(DataError::Kind { path: path.to_path_buf(), expected, got });
        }
        let reader = &mut reader;
        match self.format {
            Format::Binary => binary::read(self.kind, reader, path, fault),
            Format::Python => python::read(self.kind, reader, path, fault),
        }
    }

    /// Both sets, of what its files hold, in the order of [`Archive::files`].
    pub(crate) fn assemble(self, parts: Vec<LabelledImages>) -> Cifar {
        let (mut train, mut test) = (self.kind.empty(), self.kind.empty());
        for (i, part) in parts.into_iter().enumerate() {
            let set = if i < self.train.len() { &mut train } else { &mut test };
            if set.is_empty() { *set = part } else { append(set, part) }
        }
        Cifar { train, test }
    }
}
