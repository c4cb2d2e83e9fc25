//! Which training images a cell trains on.

use std::borrow::Cow;

use kd_core::Result;
use kd_core::data::{LabelledImages, Validation};

use crate::spec::ExamplesPart;

/// The training images of a cell.
pub struct Selection<'a> {
    /// The first [`count`](Self::count) of these are trained on.
    pub images: Cow<'a, LabelledImages>,
    /// How many.
    pub count: usize,
    /// Those that are kept apart to be measured on in place of the test images.
    pub validation: Option<LabelledImages>,
}

/// Keeps the images of `validation` apart and takes the first of the others, as far as they are
/// among the first `limit` of all. With validation the images are a set of their own, so that no
/// method knows even the labels of those that are kept apart.
///
/// # Errors
/// Bad input when the split leaves a side without images.
pub fn select<'a>(
    all: &'a LabelledImages,
    part: &ExamplesPart,
    validation: Option<&Validation>,
) -> Result<Selection<'a>> {
    let first = if part.limit == 0 { all.len() } else { part.limit.min(all.len()) };
    let Some(validation) = validation else {
        return Ok(Selection { images: Cow::Borrowed(all), count: first, validation: None });
    };
    let split = validation.split(&all.labels)?;
    let rows: Vec<u32> = split.train.into_iter().filter(|&row| (row as usize) < first).collect();
    Ok(Selection {
        images: Cow::Owned(all.subset(&rows)?),
        count: rows.len(),
        validation: Some(all.subset(&split.held_out)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(limit: usize) -> ExamplesPart {
        let rest = "augmentation = { padding = 0, flip = false }\nnormalisation = 'crd'";
        toml::from_str(&format!("limit = {limit}\n{rest}")).expect("a part")
    }

    #[test]
    fn images_to_validate_on_are_apart_and_the_same_whatever_the_limit() -> Result<()> {
        // Pixel and label say which image it is.
        let labels: Vec<u8> = (0..100).map(|i| i % 5).collect();
        let all = LabelledImages::grey((0..100).collect(), labels, 1, 1, 5);
        let validation = Validation { share: 0.2, seed: 1 };
        let of = |limit, part_of: Option<&Validation>| select(&all, &part(limit), part_of);
        let (whole, half) = (of(0, Some(&validation))?, of(50, Some(&validation))?);
        let apart = whole.validation.as_ref().expect("some");
        assert_eq!((whole.count, apart.len()), (80, 20));
        assert_eq!(half.validation.as_ref(), Some(apart));
        assert!(whole.images.images.iter().all(|image| !apart.images.contains(image)));
        assert_eq!(half.images.images[..], whole.images.images[..half.count]);
        assert!(half.images.images.iter().all(|&image| image < 50));
        let plain = of(50, None)?;
        assert!(plain.count == 50 && plain.images.len() == 100 && plain.validation.is_none());
        Ok(())
    }
}
