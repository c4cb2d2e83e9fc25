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
    /// hash of CIFAR-100, and the numbers of images of each class of CIFAR-10, whose pixels are
    /// known by their sums.
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
            (Self::Cifar10, Some(5000), Some(1000)) => {
                let pictures = [&data.train, &data.test].map(moments) == CIFAR10_MOMENTS;
                let other = if pictures { "" } else { ", of other pictures" };
                format!("{}{other}", self.original())
            }
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

/// The sum and the sum of squares of the pixels of a colour, in 0..=255.
type Moments = [[u64; 2]; 3];

/// Those of CIFAR-10's training set and test set, red first. They are what the means and standard
/// deviations that people publish with sixteen digits come to, which are whole numbers: train
/// (0.4913996786, 0.4821584084, 0.4465309144) and (0.2470322325, 0.2434851280, 0.2615878417), test
/// (0.4942142800, 0.4851313890, 0.4504090928) and (0.2466525151, 0.2428922635, 0.2615923780).
const CIFAR10_MOMENTS: [Moments; 2] = [
    [
        [6_415_714_204, 1_007_102_432_534],
        [6_295_060_180, 971_356_520_230],
        [5_829_907_619, 891_641_299_129],
    ],
    [
        [1_290_492_328, 203_142_822_772],
        [1_266_775_083, 195_994_125_155],
        [1_176_108_223, 180_646_015_723],
    ],
];

/// The moments of a set of images of three planes.
fn moments(set: &LabelledImages) -> Moments {
    let mut found = Moments::default();
    for image in set.images.chunks_exact(PIXELS) {
        for (plane, found) in image.chunks_exact(SIDE * SIDE).zip(&mut found) {
            for &pixel in plane {
                found[0] += u64::from(pixel);
                found[1] += u64::from(pixel) * u64::from(pixel);
            }
        }
    }
    found
}

/// Appends `more` to `set`; both of one kind.
pub(super) fn append(set: &mut LabelledImages, more: LabelledImages) {
    set.images.extend_from_slice(&more.images);
    set.labels.extend_from_slice(&more.labels);
    if let (Some(all), Some(more)) = (&mut set.coarse, more.coarse) {
        all.labels.extend_from_slice(&more.labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Black pictures, as many of each class as the original has.
    fn black() -> Cifar {
        let set = |each: usize| {
            let mut set = Kind::Cifar10.empty();
            set.labels = (0..each).flat_map(|_| 0..10).collect();
            set.images = vec![0; set.labels.len() * PIXELS];
            set
        };
        Cifar { train: set(5000), test: set(1000) }
    }

    #[test]
    fn other_pictures_in_the_originals_numbers_are_not_cifar_10() {
        let got = Kind::Cifar10.describe(&black());
        assert_ne!(got, Kind::Cifar10.original());
        assert!(got.ends_with("of other pictures"), "{got}");
    }

    #[test]
    fn moments_are_of_each_colour() {
        let mut set = Kind::Cifar10.empty();
        set.images = [[0u8, 1, 2], [3, 4, 255]].concat();
        set.images = set.images.iter().flat_map(|&p| [p; SIDE * SIDE]).collect();
        let n = (SIDE * SIDE) as u64;
        assert_eq!(moments(&set), [[3 * n, 9 * n], [5 * n, 17 * n], [257 * n, (4 + 65025) * n]]);
    }
}
