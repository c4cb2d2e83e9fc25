//! The order of points by their accuracy on held-out images, and which are not told apart.

use crate::table::mean_and_std;

/// What was measured at a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// Its number among the points of the grid.
    pub point: usize,
    /// Percent of the held-out images that its networks get right: the mean over the seeds.
    pub mean: f64,
    /// The sample standard deviation over the seeds; none for one.
    pub std: Option<f64>,
    /// Seeds.
    pub n: usize,
    /// Images that are held out.
    pub images: usize,
}

impl Standing {
    /// Of the accuracies of a point's seeds, at least one.
    pub fn of(point: usize, accuracies: &[f64], images: usize) -> Self {
        let (mean, std) = mean_and_std(accuracies);
        Self { point, mean, std, n: accuracies.len(), images }
    }

    /// The variance of the mean, in squared percent: a(1 − a)/N for an accuracy a on N images, as if
    /// other images had been held out, and s²/n for a standard deviation s over n seeds. With one
    /// seed the second part is not known and counts as 0.
    fn variance(&self) -> f64 {
        let share = (self.mean / 100.).clamp(0., 1.);
        let of_images = 1e4 * share * (1. - share) / self.images.max(1) as f64;
        of_images + self.std.map_or(0., |std| std * std / self.n as f64)
    }
}

/// Points, the best first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranking(pub Vec<Standing>);

/// Standard errors of a difference up to which two points are not told apart.
const STANDARD_ERRORS: f64 = 2.;

impl Ranking {
    /// In the order of the means, and where these are equal in that of the grid.
    pub fn new(mut all: Vec<Standing>) -> Self {
        all.sort_by(|a, b| b.mean.total_cmp(&a.mean).then(a.point.cmp(&b.point)));
        Self(all)
    }

    /// The first.
    pub fn best(&self) -> Option<&Standing> {
        self.0.first()
    }

    /// What was measured at a point.
    pub fn of(&self, point: usize) -> Option<&Standing> {
        self.0.iter().find(|standing| standing.point == point)
    }

    /// The others whose mean is not less than that of `point` by more than two standard errors of the
    /// difference, the root of the sum of the two variances. All points are measured on the same
    /// images, so that the true error is mostly smaller: points that are told apart by this are.
    pub fn near(&self, point: usize) -> impl Iterator<Item = &Standing> {
        let own = self.of(point);
        self.0.iter().filter(move |other| {
            let near = own.is_some_and(|own| own.mean - other.mean <= distance(own, other));
            near && other.point != point
        })
    }

    /// The points that go on where `count` do, in the order of the grid, and those that stay behind
    /// with the same mean as one that goes on.
    pub fn cut(&self, count: usize) -> (Vec<usize>, Vec<usize>) {
        let (on, behind) = self.0.split_at(count.min(self.0.len()));
        let last = on.last().map(|standing| standing.mean);
        let tied = behind.iter().filter(|standing| Some(standing.mean) == last);
        let mut on: Vec<usize> = on.iter().map(|standing| standing.point).collect();
        on.sort_unstable();
        (on, tied.map(|standing| standing.point).collect())
    }
}

fn distance(a: &Standing, b: &Standing) -> f64 {
    STANDARD_ERRORS * (a.variance() + b.variance()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(means: &[f64], images: usize) -> Ranking {
        let all = means.iter().enumerate().map(|(i, mean)| Standing::of(i, &[*mean], images));
        Ranking::new(all.collect())
    }

    fn points<'a>(all: impl Iterator<Item = &'a Standing>) -> Vec<usize> {
        all.map(|standing| standing.point).collect()
    }

    #[test]
    fn points_are_in_the_order_of_their_means_and_equal_ones_in_that_of_the_grid() {
        assert_eq!(points(ranking(&[70., 72., 71., 72.], 1000).0.iter()), [1, 3, 2, 0]);
    }

    #[test]
    fn points_within_two_standard_errors_of_the_difference_are_not_told_apart() {
        // sqrt(2 · 0.5 · 0.5 / 5000) = 0.01: two of them are two percent.
        let of = |other: f64| points(ranking(&[50., other], 5000).near(0));
        assert_eq!((of(48.1), of(47.9)), (vec![1], vec![]));
        // A better one is never told apart from a worse one by being better.
        assert_eq!(of(60.), [1]);
        assert_eq!(ranking(&[50.], 5000).near(7).count(), 0);
        // Seeds that differ add s² / n = 2 / 2 = 1 to each variance of 0.5.
        let of = |other: f64| {
            let spread = |mean: f64| [mean - 1., mean + 1.];
            let all =
                vec![Standing::of(0, &spread(50.), 5000), Standing::of(1, &spread(other), 5000)];
            points(Ranking::new(all).near(0))
        };
        // 2 · sqrt(2 · (0.5 + 1)) = 3.46.
        assert_eq!((of(46.6), of(46.5)), (vec![1], vec![]));
    }

    #[test]
    fn the_best_go_on_and_those_that_are_as_good_as_the_last_of_them_are_named() {
        let all = ranking(&[70., 72., 71., 71., 60.], 1000);
        assert_eq!(all.cut(2), (vec![1, 2], vec![3]));
        assert_eq!(all.cut(1), (vec![1], vec![]));
        assert_eq!(all.cut(9), (vec![0, 1, 2, 3, 4], vec![]));
        assert_eq!(Ranking::default().cut(3), (vec![], vec![]));
        assert!(Ranking::default().best().is_none());
    }
}
