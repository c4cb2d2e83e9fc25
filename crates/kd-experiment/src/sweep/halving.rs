//! Successive halving: where a grid costs more than the budget, all points train for a fraction of
//! the epochs, and the better part goes on with more.
//!
//! Jamieson and Talwalkar 2016, with the factor 3 that Li et al. 2018 (Hyperband) recommend: of each
//! rung the best third goes on to the next, with three times the epochs. Of R rungs the first has
//! all n points and 3^(1−R) of the epochs, rung r (from 1) has ⌈n / 3^(r−1)⌉ points, and the last
//! has all epochs. Each rung costs about as much as another, so that R rungs cost about
//! R / 3^(R−1) of the grid.

/// Points that go on: one of so many.
pub const FACTOR: usize = 3;

/// One rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rung {
    /// How many points train.
    pub points: usize,
    /// In which share of their epochs.
    pub share: f64,
}

/// The rungs, the cheapest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Halving {
    /// At least two, each with fewer points than the one before.
    pub rungs: Vec<Rung>,
    /// What it costs, in seconds.
    pub cost: f64,
}

impl Halving {
    /// The plans for so many points that train for so many epochs at most, the dearest first: two
    /// rungs, three, and so on, as long as each has fewer points than the one before and the first
    /// has an epoch at least. None for a single point or where there are fewer than three epochs.
    ///
    /// `cost` gives the seconds of the mean point in a share of its epochs.
    ///
    /// # Errors
    /// Those of `cost`.
    pub fn plans<E>(
        points: usize,
        epochs: usize,
        mut cost: impl FnMut(f64) -> Result<f64, E>,
    ) -> Result<Vec<Self>, E> {
        let mut plans = Vec::new();
        for count in 2.. {
            let (Some(last), Ok(power)) = (FACTOR.checked_pow(count - 1), i32::try_from(count))
            else {
                break;
            };
            // The last rung but one has to have more than one point, and the first an epoch.
            if last / FACTOR >= points || last > epochs {
                break;
            }
            let rung = |r: i32| Rung {
                points: points.div_ceil(FACTOR.pow(r as u32)),
                share: (FACTOR as f64).powi(r + 1 - power),
            };
            let rungs: Vec<Rung> = (0..power).map(rung).collect();
            let mut whole = 0.;
            for rung in &rungs {
                whole += rung.points as f64 * cost(rung.share)?;
            }
            plans.push(Self { rungs, cost: whole });
        }
        Ok(plans)
    }

    /// The dearest of `plans` that costs at most `budget`, in seconds.
    pub fn within(plans: Vec<Self>, budget: f64) -> Result<Self, Option<Self>> {
        let cheapest = plans.iter().min_by(|a, b| a.cost.total_cmp(&b.cost)).cloned();
        let fitting = plans.into_iter().filter(|plan| plan.cost <= budget);
        fitting.max_by(|a, b| a.cost.total_cmp(&b.cost)).ok_or(cheapest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Plans where a point costs its epochs.
    fn plans(points: usize, epochs: usize) -> Vec<Halving> {
        let cost = |share: f64| Ok::<f64, ()>(share * epochs as f64);
        Halving::plans(points, epochs, cost).expect("no error")
    }

    #[test]
    fn nine_points_of_27_epochs_are_halved_in_two_rungs_or_three() {
        let found = plans(9, 27);
        let rungs = |plan: &Halving| -> Vec<(usize, f64)> {
            plan.rungs.iter().map(|rung| (rung.points, (27. * rung.share).round())).collect()
        };
        assert_eq!(
            found.iter().map(rungs).collect::<Vec<_>>(),
            [vec![(9, 9.), (3, 27.)], vec![(9, 3.), (3, 9.), (1, 27.)],]
        );
        assert!((found[0].cost - 162.).abs() < 1e-9 && (found[1].cost - 81.).abs() < 1e-9);
        assert_eq!(Halving::within(found.clone(), 200.).as_ref(), Ok(&found[0]));
        assert_eq!(Halving::within(found.clone(), 100.).as_ref(), Ok(&found[1]));
        assert_eq!(Halving::within(found.clone(), 80.), Err(Some(found[1].clone())));
    }

    #[test]
    fn there_is_no_plan_for_one_point_or_for_two_epochs() {
        assert!(plans(1, 100).is_empty() && plans(9, 2).is_empty());
        assert_eq!(Halving::within(Vec::new(), 1e9), Err(None));
        assert_eq!(plans(2, 3).len(), 1);
    }

    proptest! {
        #[test]
        fn rungs_begin_with_all_points_lose_some_at_each_and_end_with_all_epochs(
            points in 1usize..1000, epochs in 1usize..1000
        ) {
            let found = plans(points, epochs);
            prop_assert!(found.windows(2).all(|pair| pair[1].rungs.len() == pair[0].rungs.len() + 1));
            for plan in found {
                let rungs = &plan.rungs;
                prop_assert!(rungs.len() > 1 && rungs[0].points == points);
                prop_assert!(rungs.iter().all(|rung| rung.share * epochs as f64 >= 1. - 1e-9));
                prop_assert_eq!(rungs[rungs.len() - 1].share, 1.);
                for pair in rungs.windows(2) {
                    prop_assert!(pair[1].points < pair[0].points && pair[1].points >= 1);
                    prop_assert!((pair[1].share / pair[0].share - 3.).abs() < 1e-9);
                }
            }
        }
    }
}
