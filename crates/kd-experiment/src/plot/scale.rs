//! Axes: from numbers to pixels, and where the ticks stand.

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

/// An axis: a range of numbers on a range of pixels.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Axis {
    scale: Scale,
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
    /// ticks at the values themselves: they are the settings of an experiment.
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
        let (low, high) = (self.scale.place(self.low), self.scale.place(self.high));
        let part = (self.scale.place(x) - low) / (high - low);
        self.from + (part * f64::from(self.to - self.from)).round() as i32
    }
}

/// The text of a tick.
pub(crate) fn tick_text(x: f64) -> String {
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
    let air = (last / first).powf(0.04).max(1.05);
    let mut axis = Axis {
        scale: Scale::Log,
        low: first / air,
        high: last * air,
        from,
        to,
        ticks: values.to_vec(),
    };
    let apart = |axis: &Axis| {
        axis.ticks
            .windows(2)
            .all(|pair| (axis.pixel(pair[1]) - axis.pixel(pair[0])).abs() >= spacing.min(34))
    };
    if values.len() <= count.max(12) && apart(&axis) {
        return axis;
    }
    // Else 1, 2, 5 in each decade, or the decades alone where that is too much.
    for factors in [&[1.0, 2.0, 5.0][..], &[1.0][..]] {
        let decades = axis.low.log10().floor() as i32..=axis.high.log10().ceil() as i32;
        let inside = |x: &f64| (axis.low..=axis.high).contains(x);
        axis.ticks = decades
            .flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)))
            .filter(inside)
            .collect();
        if apart(&axis) {
            break;
        }
    }
    axis
}

#[cfg(test)]
mod tests {
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
