//! Contrastive representation distillation: the loss, which images are negatives, and the memory of
//! embeddings.
//!
//! A student's embedding is compared with what the memory holds of the teacher's, and a teacher's
//! with what it holds of the student's, one image positive and m of other classes negative.
//! [`noise_contrast()`] does that without touching more than it must; [`contrast`] is the formula
//! on scores.

use candle_core::{D, Result, Tensor, bail};
use kd_kernels::noise_contrast::EPSILON;
use kd_kernels::stream::Stream;
use rayon::prelude::*;

pub use kd_kernels::noise_contrast::{Pairs, Picks, noise_contrast, normaliser};

/// The loss on scores that are there already:
///
/// `−1/b · Σ_i [ ln(P_i0 / (P_i0 + m/n + ε)) + Σ_{j ≥ 1} ln((m/n) / (P_ij + m/n + ε)) ]`, with n =
/// `images` and ε = 1e-7.
///
/// `scores` P `[b, 1 + m]`, above 0 and divided by Z already: the first column of the positives,
/// the others of the negatives → scalar, in nats.
///
/// Source: Tian, Krishnan and Isola 2020, "Contrastive representation distillation", section 3.1,
/// with ε of their program.
///
/// # Errors
/// When there is no positive, no negative or no image.
pub fn contrast(scores: &Tensor, images: usize) -> Result<Tensor> {
    let &[b, columns] = scores.dims() else {
        bail!("contrast: expected scores [b, 1 + m], got {:?}", scores.dims())
    };
    if b == 0 || columns < 2 || images == 0 {
        bail!(
            "contrast: expected scores [b, 1 + m] with b, m >= 1 and at least 1 image, got {:?} and {images}",
            scores.dims()
        )
    }
    let noise = (columns - 1) as f64 / images as f64;
    let shifted = (scores + (noise + EPSILON))?.log()?;
    let positive = scores.narrow(1, 0, 1)?.log()?.sum_all()?;
    // Σ (ln(P + m/n + ε) − ln(m/n)), whose terms are small: summed together they would lose digits.
    let negative = shifted.narrow(1, 1, columns - 1)?.affine(1., -noise.ln())?.sum_all()?;
    let at_positive = shifted.narrow(1, 0, 1)?.sum_all()?;
    ((negative + at_positive)? - positive)? * (1. / b as f64)
}

/// Rows over their Euclidean length, `[b, d]` → `[b, d]`: the embeddings that the memory holds. A
/// row of zeros has no direction: it becomes NaN, as in the authors' program.
///
/// # Errors
/// When `x` is no matrix.
pub fn unit_rows(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?)
}

/// Moves the rows of `images` in the memory towards this step's embeddings, in place: row ←
/// `momentum` · row + (1 − `momentum`) · embedding, brought to length 1 again. The graph of the
/// embeddings is not kept.
///
/// `memory` `[n, d]`, `embeddings` `[b, d]`, one for each of `images`. A loss that was computed
/// before stays what it was, its gradient too.
///
/// Source: the program of Tian et al. 2020, which takes 0.5.
///
/// # Errors
/// When the shapes do not fit or an image is not below n.
pub fn remember(memory: &Tensor, images: &[u32], embeddings: &Tensor, momentum: f64) -> Result<()> {
    let (&[n, d], &[b, width]) = (memory.dims(), embeddings.dims()) else {
        bail!(
            "remember: expected a memory [n, d] and embeddings [b, d], got {:?} and {:?}",
            memory.dims(),
            embeddings.dims()
        )
    };
    if width != d || b != images.len() {
        bail!("remember: expected embeddings [{}, {d}], got [{b}, {width}]", images.len())
    }
    if let Some(image) = images.iter().find(|&&image| image as usize >= n) {
        bail!("remember: image {image} is out of range for a memory of {n}")
    }
    let at = Tensor::from_slice(images, b, memory.device())?;
    let rows = ((memory.detach().index_select(&at, 0)? * momentum)?
        + (embeddings.detach() * (1. - momentum))?)?;
    let at = at.unsqueeze(1)?.broadcast_as((b, d))?.contiguous()?;
    memory.scatter_set(&at, &unit_rows(&rows)?.contiguous()?, 0)
}

/// Which images can be negatives of which: all of other classes.
#[derive(Clone, Debug)]
pub struct Negatives {
    /// Image numbers, class by class.
    by_class: Vec<u32>,
    /// Class of each image.
    labels: Vec<u8>,
    /// Where a class starts in `by_class`; one more at the end.
    starts: Vec<usize>,
}

impl Negatives {
    /// Over the training images, whose classes `labels` are.
    pub fn new(labels: &[u8]) -> Self {
        let mut by_class: Vec<u32> = (0..labels.len() as u32).collect();
        by_class.sort_by_key(|&image| labels[image as usize]);
        let starts = (0..=usize::from(u8::MAX) + 1).map(|class| {
            by_class.partition_point(|&image| usize::from(labels[image as usize]) < class)
        });
        Self { starts: starts.collect(), by_class, labels: labels.to_vec() }
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.labels.len()
    }

    /// The largest number of negatives that every image has.
    pub fn available(&self) -> usize {
        let largest = self.starts.windows(2).map(|ends| ends[1] - ends[0]).max().unwrap_or(0);
        self.images() - largest
    }

    /// `count` negatives for each of `images`: a set drawn uniformly from the images of other
    /// classes, without replacement, each image's independent of the others'. A pure function
    /// of its arguments: image i of the list takes words i·2³² and following of the stream.
    ///
    /// Floyd's algorithm (Bentley and Floyd 1987): `count` draws, whatever the number of images,
    /// each without bias.
    ///
    /// # Errors
    /// When an image is none of these or `count` is not from 1 to the number of images of other
    /// classes.
    pub fn draw(&self, images: &[u32], count: usize, stream: Stream) -> Result<Picks> {
        let mut others = Vec::with_capacity(images.len());
        for &image in images {
            let Some(&class) = self.labels.get(image as usize) else {
                bail!("negatives: image {image} is out of range for {} images", self.images())
            };
            let class = usize::from(class);
            let own = self.starts[class]..self.starts[class + 1];
            let available = self.images() - own.len();
            if count == 0 || count > available {
                bail!(
                    "negatives: expected 1 to {available} for image {image}, of whose class {} are, got {count}",
                    own.len()
                )
            }
            others.push((own, available));
        }
        let mut picks = Picks::none(images.len(), self.images());
        let by_class = self.by_class.as_slice();
        picks.rows_mut().into_par_iter().zip(others).enumerate().for_each(
            |(i, (mut row, (own, available)))| {
                let (start, width) = (own.start, own.len());
                // Place p among the images of other classes.
                let image = |p: usize| by_class[if p < start { p } else { p + width }] as usize;
                let mut draws = Draws::new(stream, (i as u64) << 32);
                let mut last = available - count;
                while last < available {
                    let drawn = draws.below(last as u32 + 1) as usize;
                    if !row.insert(image(drawn)) {
                        row.insert(image(last));
                    }
                    last += 1;
                }
            },
        );
        Ok(picks)
    }
}

/// Uniform integers from consecutive words of a stream.
struct Draws {
    stream: Stream,
    next: u64,
    words: [u32; 512],
    used: usize,
}

impl Draws {
    fn new(stream: Stream, start: u64) -> Self {
        Self { stream, next: start, words: [0; 512], used: 512 }
    }

    #[inline(always)]
    fn word(&mut self) -> u32 {
        if self.used == self.words.len() {
            self.stream.fill_u32(self.next, &mut self.words);
            self.next += self.words.len() as u64;
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform over `0 .. n` without bias, n > 0: a word is scaled by n, and rejected where it
    /// would favour a value (Lemire 2019).
    #[inline(always)]
    fn below(&mut self, n: u32) -> u32 {
        loop {
            let scaled = u64::from(self.word()) * u64::from(n);
            let low = scaled as u32;
            if low >= n || low >= n.wrapping_neg() % n {
                return (scaled >> 32) as u32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device};

    use super::*;
    use crate::Seed;
    use crate::loss::testing::{differences_agree, finite, flat, gradient, noise, refused, scalar};

    fn stream(step: usize) -> Stream {
        Seed(1).stream("negatives", 0, step)
    }

    #[test]
    fn the_loss_of_scores_is_that_of_embeddings() -> Result<()> {
        let (b, n, m, d, z) = (3, 9, 4, 5, 12.);
        let (anchors, memory) = (unit_rows(&noise(&[b, d], 1)?)?, unit_rows(&noise(&[n, d], 2)?)?);
        let positives = [4u32, 0, 8];
        let negatives =
            Negatives::new(&[0, 0, 0, 1, 1, 1, 2, 2, 2]).draw(&positives, m, stream(0))?;
        let rows: Vec<u32> = (0..b)
            .flat_map(|i| {
                std::iter::once(positives[i])
                    .chain(negatives.row(i).map(|j| j as u32))
                    .collect::<Vec<_>>()
            })
            .collect();
        let rows = memory
            .index_select(&Tensor::from_vec(rows, b * (1 + m), &Device::Cpu)?, 0)?
            .reshape((b, 1 + m, d))?;
        let scores = ((rows.matmul(&anchors.unsqueeze(2)?)?.squeeze(2)? / 0.5)?.exp()? / z)?;
        let pairs = Pairs { positives: &positives, negatives: &negatives, temperature: 0.5 };
        let (want, got) = (
            scalar(&contrast(&scores, n)?),
            scalar(&noise_contrast(&anchors, &memory, &pairs, z)?),
        );
        assert!((want - got).abs() < 1e-5 * want, "{want} {got}");
        let mean = scalar(&scores.mean_all()?) * z * n as f64;
        assert!((normaliser(&anchors, &memory, &pairs)? - mean).abs() < 1e-5 * mean);
        Ok(())
    }

    #[test]
    fn a_surer_positive_and_less_likely_negatives_lower_the_loss() -> Result<()> {
        let scores = noise(&[4, 6], 1)?.exp()?;
        let plain = scalar(&contrast(&scores, 50)?);
        let scaled = |first: f64, others: f64| -> Result<f64> {
            let scores = Tensor::cat(
                &[(scores.narrow(1, 0, 1)? * first)?, (scores.narrow(1, 1, 5)? * others)?],
                1,
            )?;
            Ok(scalar(&contrast(&scores, 50)?))
        };
        assert!(
            plain > 0.
                && scaled(2., 1.)? < plain
                && scaled(1., 0.5)? < plain
                && scaled(1., 2.)? > plain
        );
        // As sure as can be: only ε is left.
        assert!(scaled(1e9, 1e-12)?.abs() < 2e-5);
        let (_, g) = finite(&scores, |s| contrast(s, 50));
        assert!(g.iter().enumerate().all(|(i, g)| if i % 6 == 0 { *g < 0. } else { *g > 0. }));
        differences_agree(&scores, 1, |s| contrast(s, 50));
        Ok(())
    }

    #[test]
    fn negatives_are_of_other_classes_and_the_draw_is_a_function_of_stream_and_place() -> Result<()>
    {
        let labels: Vec<u8> = (0..300).map(|i| (i * 7 % 5) as u8).collect();
        let (negatives, images) = (Negatives::new(&labels), [3u32, 299, 3, 50]);
        assert_eq!((negatives.images(), negatives.available()), (300, 240));
        for count in [1, 100, 240] {
            let picks = negatives.draw(&images, count, stream(0))?;
            for (i, &image) in images.iter().enumerate() {
                assert_eq!(picks.count(i), count);
                assert!(picks.row(i).all(|j| labels[j] != labels[image as usize]));
            }
            assert_eq!(picks, negatives.draw(&images, count, stream(0))?);
        }
        let picks = negatives.draw(&images, 100, stream(0))?;
        assert_ne!(picks, negatives.draw(&images, 100, stream(1))?);
        assert_ne!(picks.row(0).collect::<Vec<_>>(), picks.row(2).collect::<Vec<_>>());
        assert_eq!(
            negatives.draw(&images[..2], 100, stream(0))?.row(1).collect::<Vec<_>>(),
            picks.row(1).collect::<Vec<_>>()
        );
        Ok(())
    }

    #[test]
    fn every_set_of_negatives_is_as_likely_as_every_other() -> Result<()> {
        // Three of five images: ten sets. 20,000 draws: 2,000 of each, with a deviation of 42.
        let negatives = Negatives::new(&[1, 0, 1, 2, 0, 2, 1, 3]);
        let images = vec![2u32; 2000];
        let mut counts: HashMap<Vec<usize>, usize> = HashMap::new();
        for step in 0..10 {
            let picks = negatives.draw(&images, 3, stream(step))?;
            (0..images.len()).for_each(|i| *counts.entry(picks.row(i).collect()).or_default() += 1);
        }
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| count.abs_diff(2000) < 210), "{counts:?}");
        assert!(counts.keys().flatten().all(|j| [1, 3, 4, 5, 7].contains(j)));
        Ok(())
    }

    #[test]
    fn draws_below_a_number_are_uniform_where_words_are_rejected() {
        // Three quarters of 2³²: a third of the words is rejected, and without that the first third
        // of the values would come twice as often.
        let n = 3 << 30;
        let mut draws = Draws::new(stream(0), 5);
        let low = (0..30_000).filter(|_| draws.below(n) < 1 << 30).count();
        assert!(low.abs_diff(10_000) < 410, "{low}");
        assert!((0..100).all(|_| draws.below(1) == 0));
    }

    #[test]
    fn more_negatives_than_there_are_and_strangers_are_errors_of_one_line() {
        let negatives = Negatives::new(&[0, 0, 1]);
        let draw = |images: &[u32], count| {
            negatives.draw(images, count, stream(0)).and_then(|picks| picks.mask(&Device::Cpu))
        };
        refused(
            draw(&[2, 0], 2),
            "negatives: expected 1 to 1 for image 0, of whose class 2 are, got 2",
        );
        refused(
            draw(&[2], 0),
            "negatives: expected 1 to 2 for image 2, of whose class 1 are, got 0",
        );
        refused(draw(&[3], 1), "negatives: image 3 is out of range for 3 images");
        assert_eq!((Negatives::new(&[]).available(), Negatives::new(&[7; 4]).available()), (0, 0));
    }

    #[test]
    fn the_memory_moves_towards_the_embeddings_and_only_there() -> Result<()> {
        let memory = unit_rows(&noise(&[5, 4], 1)?)?.copy()?;
        let before = memory.copy()?;
        let embeddings = unit_rows(&noise(&[2, 4], 2)?)?;
        remember(&memory, &[3, 0], &embeddings, 0.5)?;
        let want = unit_rows(&(before.narrow(0, 3, 1)? + embeddings.narrow(0, 0, 1)?)?)?;
        assert!(flat(&(memory.narrow(0, 3, 1)? - want)?)?.iter().all(|x| x.abs() < 1e-6));
        for row in [1, 2, 4] {
            assert_eq!(flat(&memory.narrow(0, row, 1)?)?, flat(&before.narrow(0, row, 1)?)?);
        }
        assert!(flat(&memory.sqr()?.sum(1)?)?.iter().all(|x| (x - 1.).abs() < 1e-6));
        // At momentum 0 the row is the embedding, at 1 it stays.
        remember(&memory, &[3, 0], &embeddings, 0.)?;
        assert!(
            flat(&(memory.narrow(0, 0, 1)? - embeddings.narrow(0, 1, 1)?)?)?
                .iter()
                .all(|x| x.abs() < 1e-6)
        );
        let moved =
            |images: &[u32]| remember(&memory, images, &embeddings, 0.5).map(|()| memory.clone());
        refused(moved(&[5, 0]), "remember: image 5 is out of range for a memory of 5");
        refused(moved(&[1]), "remember: expected embeddings [1, 4], got [2, 4]");
        Ok(())
    }

    #[test]
    fn a_loss_taken_before_the_memory_moves_keeps_its_gradient() -> Result<()> {
        let (anchors, memory) = (unit_rows(&noise(&[2, 4], 1)?)?, unit_rows(&noise(&[6, 4], 2)?)?);
        let negatives = Negatives::new(&[0, 0, 1, 1, 2, 2]).draw(&[0, 5], 3, stream(0))?;
        let pairs = Pairs { positives: &[0, 5], negatives: &negatives, temperature: 0.5 };
        for dtype in [DType::F32, DType::F64] {
            let (anchors, memory) = (anchors.to_dtype(dtype)?, memory.to_dtype(dtype)?);
            let still = gradient(&anchors, |a| noise_contrast(a, &memory, &pairs, 10.));
            let moving = gradient(&anchors, |a| {
                let moving = memory.copy()?;
                let loss = noise_contrast(a, &moving, &pairs, 10.)?;
                remember(&moving, &[0, 5], a, 0.5)?;
                assert!(flat(&(moving - &memory)?)?.iter().any(|x| x.abs() > 0.1));
                Ok(loss)
            });
            assert!(still.is_some() && still == moving, "{dtype:?}");
        }
        Ok(())
    }
}
