//! The images that networks are trained and measured on: CIFAR, generated ones, or pictures of one's
//! own.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use kd_base::nearest;
use kd_core::data::cifar::{self, CifarSource, Kind};
use kd_core::data::image_folder;
use kd_core::data::{Cifar, DataError, Known, LabelledImages, Provenance};
use kd_core::{Error, Result};

/// What `--help` says of `--data`.
pub const HELP: &str = "Data: auto, cifar100, cifar10, embedded, or a folder. `auto` looks for CIFAR-100 \
in --data-dir, then in the Hugging Face cache, then downloads, and falls back to generated data. \
DIR has the files of CIFAR, or pictures: train/<class>/*.png|jpg and test/<class>/*.png|jpg, 2 to \
256 classes, each with a training image. The square in the middle of a picture is scaled to 32x32. \
16-bit and grey pictures become 8-bit colour, alpha is dropped, hidden files are passed over, links \
are followed. Left out, counted and named: broken or cut-off pictures, animated PNGs, CMYK JPEGs, \
pictures of one pixel's width or height, everything that is not PNG or JPEG. Refused: a class \
without a training image or with a name that is not UTF-8, a class of test/ that train/ lacks";

/// The names of `--data` that mean no folder.
const NAMES: [&str; 4] = ["auto", "cifar100", "cifar10", "embedded"];

/// Training images and test images, with the names of their classes.
pub struct Images {
    /// To train on.
    pub train: LabelledImages,
    /// To measure on.
    pub test: LabelledImages,
    /// The names of the classes, by label; empty where the data set has none.
    pub classes: Vec<String>,
}

impl Images {
    /// A class as people call it: its name, or its number.
    pub fn class(&self, label: usize) -> String {
        self.classes.get(label).cloned().unwrap_or_else(|| label.to_string())
    }

    /// Fails unless a network tells apart as many classes as there are; `file` is what it is called.
    ///
    /// # Errors
    /// Bad input with both numbers.
    pub fn check_classes(&self, file: &Path, classes: usize) -> Result<()> {
        if classes == self.test.classes {
            return Ok(());
        }
        Err(Error::bad_input(format!(
            "{}: expected a network of {} classes, as the data has, got one of {classes}",
            file.display(),
            self.test.classes
        )))
    }
}

/// The classes of the training images that methods are checked against before anything runs.
pub struct TrainLabels<'a> {
    /// The class of each image.
    pub labels: Cow<'a, [u8]>,
    /// How many classes there are.
    pub classes: usize,
}

impl<'a> TrainLabels<'a> {
    /// Those of the images. Generated ones are far fewer than CIFAR's, for which they stand: as many
    /// as CIFAR's are taken, so that what is planned for CIFAR can be listed without it.
    pub fn of(images: &'a Images, provenance: &Provenance) -> Self {
        const CIFAR: usize = 50_000;
        let (train, classes) = (&images.train, images.train.classes);
        let labels = if provenance.known == Known::Generated {
            (0..CIFAR).map(|i| (i % classes.max(1)) as u8).collect()
        } else {
            Cow::Borrowed(&*train.labels)
        };
        Self { labels, classes }
    }
}

/// Which images are asked for.
#[derive(Clone, Debug)]
pub enum Request {
    /// CIFAR or what stands in for it.
    Cifar(cifar::CifarRequest),
    /// A folder of pictures, or of CIFAR's files.
    Folder(PathBuf),
}

impl Request {
    /// What `--data` and `--data-dir` say.
    ///
    /// # Errors
    /// Bad input when `--data` is neither a name nor a folder, or both options name one.
    pub fn read(data: &str, dir: Option<&Path>) -> Result<Self> {
        if let Ok(source) = data.parse::<CifarSource>() {
            return Ok(Self::Cifar(cifar::CifarRequest::new(source, dir.map(Path::to_path_buf))));
        }
        if !Path::new(data).exists() {
            let hint = nearest::nearest(data, NAMES)
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default();
            return Err(Error::bad_input(format!(
                "--data: expected {} or a folder, got {data}, which is neither{hint}",
                NAMES.join(", ")
            )));
        }
        match dir {
            Some(dir) => Err(Error::bad_input(format!(
                "--data-dir: expected none beside --data {data}, got {}",
                dir.display()
            ))),
            None => Ok(Self::Folder(data.into())),
        }
    }

    /// Finds, reads, downloads or generates the images.
    ///
    /// # Errors
    /// As [`cifar::load`] and [`image_folder::load`].
    pub fn load(&self) -> std::result::Result<(Images, Provenance), DataError> {
        let of_cifar = |(Cifar { train, test }, provenance)| {
            (Images { train, test, classes: Vec::new() }, provenance)
        };
        let dir = match self {
            Self::Cifar(request) => return cifar::load(request).map(of_cifar),
            Self::Folder(dir) => dir,
        };
        // Where CIFAR's files are unpacked, `train` and `test` are files.
        if ["train", "test"].iter().any(|part| dir.join(part).is_dir()) {
            let (found, provenance) = image_folder::load(dir)?;
            let Cifar { train, test } = found.sets;
            return Ok((Images { train, test, classes: found.classes }, provenance));
        }
        for kind in [Kind::Cifar100, Kind::Cifar10] {
            let request = cifar::CifarRequest::new(CifarSource::Cifar(kind), Some(dir.clone()));
            match cifar::load(&request) {
                Err(DataError::MissingFiles { .. }) => {}
                other => return other.map(of_cifar),
            }
        }
        Err(DataError::Folder {
            path: dir.clone(),
            expected: "folders train/ and test/ with a folder for each class, or CIFAR's files"
                .to_owned(),
            got: "neither".to_owned(),
        })
    }
}
