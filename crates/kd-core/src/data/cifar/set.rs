//! The two data sets: what they are, whatever form they come in.

use crate::data::images::{CoarseLabels, LabelledImages, content_hash};

/// Height and width of an image.
pub const SIDE: usize = 32;
/// Bytes of an image: three planes.
pub const PIXELS: usize = 3 * SIDE * SIDE;

/// A training set and a test set of 32×32 colour images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cifar {
    /// 50,000 images in the originals.
    pub train: LabelledImages,
    /// 10,000 images in the originals.
    pub test: LabelledImages,
}

impl Cifar {
    /// The first 16 hexadecimal digits of a SHA-256 over both sets (number, size, pixels and
    /// labels, training set first): two data sets with the same hash are the same data,
    /// wherever they came from.
    pub fn content_hash(&self) -> String {
        content_hash([&self.train, &self.test])
    }
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 10 classes.
    Cifar10,
    /// 100 classes in 20 groups.
    Cifar100,
}

impl Kind {
    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Cifar10 => "CIFAR-10",
            Self::Cifar100 => "CIFAR-100",
        }
    }

    /// As commands and folders write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cifar10 => "cifar10",
            Self::Cifar100 => "cifar100",
        }
    }

    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// Number of groups of classes, where there are groups.
    pub fn groups(self) -> Option<usize> {
        match self {
            Self::Cifar10 => None,
            Self::Cifar100 => Some(20),
        }
    }

    /// What tells the original, 50,000 + 10,000 images in the order of the archives: the content
    /// hash of CIFAR-100, and the numbers of images of each class of CIFAR-10.
    pub fn original(self) -> &'static str {
        match self {
            Self::Cifar10 => "5,000 + 1,000 images of each class",
            Self::Cifar100 => "content 943eaa0127689010",
        }
    }

    /// The same of `data`: equal to [`Kind::original`] where they are the original.
    pub fn describe(self, data: &Cifar) -> String {
        let even = |set: &LabelledImages| {
            let counts = set.class_counts();
            let first = counts.first().copied().unwrap_or(0);
            counts.iter().all(|&n| n == first).then_some(first)
        };
        match (self, even(&data.train), even(&data.test)) {
            (Self::Cifar100, ..) => format!("content {}", data.content_hash()),
            (Self::Cifar10, Some(5000), Some(1000)) => self.original().to_string(),
            (Self::Cifar10, ..) => format!("{} + {} images", data.train.len(), data.test.len()),
        }
    }

    /// A set without images, to be filled.
    pub(super) fn empty(self) -> LabelledImages {
        let coarse = self.groups().map(|classes| CoarseLabels { labels: Vec::new(), classes });
        let (images, labels) = (Vec::new(), Vec::new());
        LabelledImages {
            images,
            labels,
            coarse,
            channels: 3,
            rows: SIDE,
            cols: SIDE,
            classes: self.classes(),
        }
    }
}

/// Appends `more` to `set`; both of one kind.
pub(super) fn append(set: &mut LabelledImages, more: LabelledImages) {
    set.images.extend_from_slice(&more.images);
    set.labels.extend_from_slice(&more.labels);
    if let (Some(all), Some(more)) = (&mut set.coarse, more.coarse) {
        all.labels.extend_from_slice(&more.labels);
    }
}
