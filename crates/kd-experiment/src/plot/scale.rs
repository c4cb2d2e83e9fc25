//! Axes: from numbers to pixels, and where the ticks stand.

use super::canvas::text_width;
use crate::number::significant;

/// How an axis spaces its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// Equal steps.
    #[default]
    Linear,
    /// Equal ratios; numbers that are not positive are left out.
    Log,
}

impl Scale {
    /// True where the number has a place on the axis.
    pub(crate) fn shows(self, x: f64) -> bool {
        x.is_finite() && (self == Scale::Linear || x > 0.0)
    }

    fn place(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::Log => x.log10(),
        }
    }
}

/// The height of a tick's label.
pub(crate) const TICK: u32 = 13;

/// An axis: a range of numbers on a range of pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    scale: Scale,
    /// The ends, as [`Scale::place`] has them.
    low: f64,
    high: f64,
    from: i32,
    to: i32,
    /// The ticks, in order.
    pub ticks: Vec<f64>,
}

impl Axis {
    /// An axis over `values` from pixel `from` to pixel `to` (upwards where `from > to`), with
    /// about one tick for each `spacing` pixels. A log axis with few distinct values has its
    /// ticks at the values themselves: they are the settings of an experiment. It has three labels
    /// at least.
    pub fn new(
        scale: Scale,
        values: impl IntoIterator<Item = f64>,
        from: i32,
        to: i32,
        spacing: i32,
    ) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| scale.shows(*value)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let (first, last) = match (values.first(), values.last()) {
            (Some(first), Some(last)) => (*first, *last),
            _ => (1.0, 2.0),
        };
        let count = ((to - from).abs() / spacing).max(2) as usize;
        match scale {
            Scale::Linear => linear(first, last, count, from, to),
            Scale::Log => log(&values, first, last, count, from, to, spacing),
        }
    }

    /// The pixel of a number.
    pub fn pixel(&self, x: f64) -> i32 {
        let part = (self.scale.place(x) - self.low) / (self.high - self.low);
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }

    /// The ticks that have a label, with its text. On a level axis a label that would touch the one
    /// before is left out.
    pub fn labels(&self) -> Vec<(f64, String)> {
        let mut free_from = i32::MIN;
        let mut labels = Vec::new();
        for tick in &self.ticks {
            let (at, text) = (self.pixel(*tick), tick_text(*tick));
            let half = text_width(&text, TICK) / 2;
            if self.from > self.to || at - half > free_from {
                free_from = at + half + 4;
                labels.push((*tick, text));
            }
        }
        labels
    }
}

/// The text of a tick.
fn tick_text(x: f64) -> String {
    if x != 0.0 && !(1e-4..1e6).contains(&x.abs()) { format!("{x:e}") } else { significant(x, 6) }
}

fn linear(first: f64, last: f64, count: usize, from: i32, to: i32) -> Axis {
    // One value only: a range around it.
    let (first, last) = if first == last {
        (first - 0.5 * first.abs().max(1.0), last + 0.5 * last.abs().max(1.0))
    } else {
        (first, last)
    };
    let step = nice_step((last - first) / count as f64);
    let (low, high) = ((first / step).floor(), (last / step).ceil());
    // Rounded, so that 3 * 0.1 is written 0.3.
    let ticks = (low as i64..=high as i64)
        .map(|k| significant(k as f64 * step, 10).parse().unwrap_or(k as f64 * step))
        .collect();
    Axis { scale: Scale::Linear, low: low * step, high: high * step, from, to, ticks }
}

/// The smallest of 1, 2, 5 × a power of ten that is at least `step`.
fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|nice| *nice >= step * 0.999)
        .unwrap_or(10.0 * power)
}

/// Fewer labels than this, and a log axis is read as a linear one.
const LEAST_LABELS: usize = 3;

fn log(
    values: &[f64],
    first: f64,
    last: f64,
    count: usize,
    from: i32,
    to: i32,
    spacing: i32,
) -> Axis {
    // A little air on both sides, in equal ratio.
    let (first, last) = (first.log10(), last.log10());
    let air = (0.04 * (last - first)).max(1.05f64.log10());
    let (low, high) = (first - air, last + air);
    let mut axis = Axis { scale: Scale::Log, low, high, from, to, ticks: Vec::new() };
    let settings = (values.len() <= count.max(12)).then(|| values.to_vec());
    let in_decades = [&[1, 2, 5][..], &[1]].map(|factors| decades(low, high, factors, 1));
    let sparser = [2, 5, 10, 20, 50, 100].map(|every| decades(low, high, &[1], every));
    for ticks in settings.into_iter().chain(in_decades).chain(sparser) {
        axis.ticks = ticks;
        let gap = |pair: &[f64]| (axis.pixel(pair[1]) - axis.pixel(pair[0])).abs();
        let apart = axis.ticks.windows(2).all(|pair| gap(pair) >= spacing.min(34));
        if apart && axis.labels().len() >= LEAST_LABELS {
            return axis;
        }
    }
    axis.ticks = equal_steps(low, high);
    axis
}

/// `factor` × 10^`power`, rounded once: 3 × 10^-1 is written 0.3.
fn round_number(factor: i64, power: i32) -> f64 {
    format!("{factor}e{power}").parse().unwrap_or(f64::NAN)
}

/// The factors in every `every`-th decade between 10^`low` and 10^`high`.
fn decades(low: f64, high: f64, factors: &[i64], every: i32) -> Vec<f64> {
    (low.floor() as i32..=high.ceil() as i32)
        .filter(|decade| decade % every == 0)
        .flat_map(|decade| factors.iter().map(move |factor| round_number(*factor, decade)))
        .filter(|x| (low..=high).contains(&x.log10()))
        .collect()
}

/// The multiples between 10^`low` and 10^`high` of the largest of 1, 2, 5 × a power of ten that
/// has [`LEAST_LABELS`] of them there.
fn equal_steps(low: f64, high: f64) -> Vec<f64> {
    let (low, high) = (10f64.powf(low), 10f64.powf(high).min(f64::MAX));
    let power = (high - low).log10().floor() as i32;
    let multiples = |(factor, power): (i64, i32)| -> Vec<f64> {
        let step = round_number(factor, power);
        let range = (low / step).ceil() as i64..=(high / step).floor() as i64;
        range.map(|k| round_number(k * factor, power)).collect()
    };
    // A step of a fifth of the range's power of ten has five multiples there at least.
    [(5, power), (2, power), (1, power), (5, power - 1), (2, power - 1)]
        .into_iter()
        .map(multiples)
        .find(|ticks| ticks.len() >= LEAST_LABELS)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn linear_ticks_are_round_and_enclose_the_values() {
        let axis = Axis::new(Scale::Linear, [67.0, 146.0, 74.0], 0, 400, 60);
        assert_eq!(axis.ticks, [60.0, 80.0, 100.0, 120.0, 140.0, 160.0]);
        assert_eq!((axis.pixel(60.0), axis.pixel(160.0), axis.pixel(110.0)), (0, 400, 200));
    }

    #[test]
    fn a_log_axis_of_few_values_has_its_ticks_there() {
        let axis = Axis::new(Scale::Log, [1.0, 2.0, 4.0, 8.0, 0.0, -1.0], 0, 500, 40);
        assert_eq!(axis.ticks, [1.0, 2.0, 4.0, 8.0]);
        let gaps: Vec<i32> =
            axis.ticks.windows(2).map(|pair| axis.pixel(pair[1]) - axis.pixel(pair[0])).collect();
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() <= 1), "{gaps:?}");
    }

    #[test]
    fn a_log_axis_of_many_values_has_round_ticks() {
        let axis = Axis::new(Scale::Log, (1..=1000).map(f64::from), 0, 500, 40);
        assert_eq!(axis.ticks, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);
    }

    #[test]
    fn a_log_axis_within_a_decade_has_ticks_in_equal_steps() {
        let up = |low, high| Axis::new(Scale::Log, [low, high], 400, 40, 48).ticks;
        assert_eq!(up(97.0, 380.0), [100.0, 200.0, 300.0, 400.0]);
        assert_eq!(up(0.3, 0.32), [0.29, 0.3, 0.31, 0.32, 0.33]);
        assert_eq!(up(1.0, 4.0), [1.0, 2.0, 3.0, 4.0]);
    }

    proptest! {
        /// Ratios from 1 to 1e200, anywhere that doubles reach with it, on axes as wide and as high
        /// as plots have them.
        #[test]
        fn a_log_axis_has_three_labels_that_stand_apart_and_differ(
            middle in -100.0..100.0f64,
            reach in prop_oneof![0.0..1.5f64, 0.0..100.0f64],
            between in prop::collection::vec(0.0..1.0f64, 0..20),
            length in 300..500i32,
            level in any::<bool>(),
        ) {
            let places = [0.0, 1.0].into_iter().chain(between);
            let values: Vec<f64> =
                places.map(|part| 10f64.powf(middle + reach * (part - 0.5))).collect();
            let (from, to, spacing) = if level { (60, 60 + length, 56) } else { (length, 0, 48) };
            let axis = Axis::new(Scale::Log, values.clone(), from, to, spacing);
            let labels = axis.labels();
            prop_assert!(labels.len() >= 3, "{labels:?}");
            for pair in labels.windows(2) {
                let room = |text: &str| if level { text_width(text, TICK) } else { TICK as i32 };
                let ((a, a_text), (b, b_text)) = (&pair[0], &pair[1]);
                prop_assert!(a < b && a_text != b_text, "{labels:?}");
                let apart = (axis.pixel(*b) - axis.pixel(*a)).abs();
                prop_assert!(2 * apart > room(a_text) + room(b_text), "{labels:?}");
            }
            for x in values.iter().chain(&axis.ticks) {
                let at = axis.pixel(*x);
                prop_assert!((from.min(to)..=from.max(to)).contains(&at), "{x} at {at}");
            }
        }
    }

    #[test]
    fn one_value_and_no_value_still_make_an_axis() {
        for scale in [Scale::Linear, Scale::Log] {
            for values in [vec![], vec![5.0], vec![0.0]] {
                let axis = Axis::new(scale, values.clone(), 0, 100, 20);
                let pixel = axis.pixel(if values == [5.0] { 5.0 } else { 1.5 });
                assert!((-100..=200).contains(&pixel), "{scale:?} {values:?} {pixel}");
            }
        }
    }

    #[test]
    fn tick_texts_are_short() {
        assert_eq!(
            [0.0, 0.3, 1200.0, 1e-5, 2e7].map(tick_text),
            ["0", "0.3", "1200", "1e-5", "2e7"]
        );
    }
}
