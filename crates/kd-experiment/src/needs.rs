//! Which cells a cell may need, checked before anything is computed: a missing teacher is found out
//! in the first second, not after the hours that come before its student.

use std::collections::BTreeMap;

use kd_base::nearest;

use crate::cell::Cell;
use crate::error::{Error, Result};
use crate::specs::{Parsed, Specs};

/// A role of `needs` in an experiment file: what fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    name: &'static str,
    kinds: &'static [&'static str],
    least: usize,
    most: usize,
}

impl Role {
    /// Exactly one cell, of one of these kinds; no kinds for any.
    pub const fn one(name: &'static str, kinds: &'static [&'static str]) -> Self {
        Self { name, kinds, least: 1, most: 1 }
    }

    /// One cell of one of these kinds, or none.
    pub const fn optional(name: &'static str, kinds: &'static [&'static str]) -> Self {
        Self { name, kinds, least: 0, most: 1 }
    }

    /// One cell or more, of these kinds.
    pub const fn several(name: &'static str, kinds: &'static [&'static str]) -> Self {
        Self { name, kinds, least: 1, most: usize::MAX }
    }

    /// The cells that the role asks for, in words.
    fn wanted(&self) -> String {
        let number = match (self.least, self.most) {
            (1, 1) => "one cell",
            (0, _) => "at most one cell",
            _ => "at least one cell",
        };
        match self.kinds {
            [] => number.to_owned(),
            kinds => format!("{number} of kind {}", kinds.join(" or ")),
        }
    }
}

/// The cells that a cell needs, by role, finished or not, with their specs.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs<'a, S> {
    roles: BTreeMap<&'a str, Vec<&'a Parsed<'a, S>>>,
}

impl<S> Default for Needs<'_, S> {
    /// No needs.
    fn default() -> Self {
        Self { roles: BTreeMap::new() }
    }
}

impl<'a, S> Needs<'a, S> {
    /// What `cell` needs, looked up among the cells whose specs were read before its own.
    ///
    /// Errors: a needed cell is not there, which [`expand`](crate::expand()) never leaves out.
    pub fn of(specs: &'a Specs<'a, S>, cell: &'a Cell) -> Result<Self> {
        let mut roles = BTreeMap::new();
        for (role, ids) in &cell.needs {
            let missing = |id| {
                Error::bad_input(format!(
                    "{}: needs.{role}: no cell {id} in the plan",
                    cell.label()
                ))
            };
            let cells = ids
                .iter()
                .map(|id| specs.get(id).ok_or_else(|| missing(id)))
                .collect::<Result<Vec<_>>>()?;
            roles.insert(role.as_str(), cells);
        }
        Ok(Self { roles })
    }

    /// The cells of a role, in the order of their seeds; empty where the experiment file names
    /// none.
    pub fn all(&self, role: &str) -> &[&'a Parsed<'a, S>] {
        self.roles.get(role).map_or(&[], Vec::as_slice)
    }

    /// The roles that the experiment file names.
    pub fn roles(&self) -> impl Iterator<Item = (&'a str, &[&'a Parsed<'a, S>])> {
        self.roles.iter().map(|(role, cells)| (*role, cells.as_slice()))
    }

    /// Checks that these roles, and no others, are filled as they ask.
    ///
    /// # Errors
    /// Bad input that names the role, what was expected and what was found.
    pub fn expect(&self, roles: &[Role]) -> Result<()> {
        let fault =
            |role: &str, what: String| Err(Error::bad_input(format!("needs.{role}: {what}")));
        for (name, _) in self.roles() {
            if roles.iter().all(|role| role.name != name) {
                let hint = nearest::hint(name, roles.iter().map(|role| role.name));
                return fault(name, format!("this cell has no such need{hint}"));
            }
        }
        for role in roles {
            let cells = self.all(role.name);
            if !(role.least..=role.most).contains(&cells.len()) {
                return fault(
                    role.name,
                    format!("expected {}, got {}", role.wanted(), cells.len()),
                );
            }
            let stranger = cells.iter().find(|other| {
                !role.kinds.is_empty() && !role.kinds.contains(&other.cell.kind.as_str())
            });
            if let Some(Parsed { cell, .. }) = stranger {
                return fault(
                    role.name,
                    format!(
                        "expected {}, got {} of kind {}",
                        role.wanted(),
                        cell.short_label(),
                        cell.kind
                    ),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(row: &str, kind: &str) -> Cell {
        Cell {
            id: Cell::unnamed_id(),
            paper: "toy".into(),
            table: "t".into(),
            row: row.into(),
            keys: vec![],
            kind: kind.into(),
            spec: toml::Table::new(),
            seed: 1,
            data: "embedded:1".into(),
            needs: BTreeMap::new(),
        }
        .named()
    }

    const ROLES: [Role; 3] = [
        Role::one("teacher", &["train"]),
        Role::optional("start", &["train", "generate"]),
        Role::several("of", &[]),
    ];

    fn parsed<'a>(cells: &[&'a Cell]) -> Vec<Parsed<'a, ()>> {
        cells.iter().map(|&cell| Parsed { cell, spec: () }).collect()
    }

    /// What is wrong where the roles are filled so.
    fn problem(filled: &[(&'static str, &[&Cell])]) -> Option<String> {
        let filled: Vec<_> = filled.iter().map(|(role, cells)| (*role, parsed(cells))).collect();
        let needs = Needs {
            roles: filled.iter().map(|(role, cells)| (*role, cells.iter().collect())).collect(),
        };
        needs.expect(&ROLES).err().map(|error| {
            assert!(error.is_bad_input());
            error.to_string()
        })
    }

    #[test]
    fn roles_filled_as_they_ask_are_accepted() {
        let (net, text, start) =
            (cell("net", "train"), cell("text", "pseudo"), cell("start", "generate"));
        assert_eq!(problem(&[("teacher", &[&net]), ("of", &[&text, &net])]), None);
        assert_eq!(problem(&[("teacher", &[&net]), ("start", &[&start]), ("of", &[&net])]), None);
    }

    #[test]
    fn a_missing_a_second_a_strange_and_an_unknown_one_are_refused_by_role() {
        let (net, text) = (cell("net", "train"), cell("text", "pseudo"));
        let of: (&str, &[&Cell]) = ("of", &[&net]);
        let message = |filled: &[(&'static str, &[&Cell])]| problem(filled).expect("a refusal");
        assert_eq!(message(&[of]), "needs.teacher: expected one cell of kind train, got 0");
        assert_eq!(
            message(&[of, ("teacher", &[&net, &net])]),
            "needs.teacher: expected one cell of kind train, got 2"
        );
        assert_eq!(
            message(&[of, ("teacher", &[&text])]),
            "needs.teacher: expected one cell of kind train, got t/text seed 1 of kind pseudo"
        );
        assert_eq!(message(&[("teacher", &[&net])]), "needs.of: expected at least one cell, got 0");
        let two: (&str, &[&Cell]) = ("start", &[&net, &net]);
        assert_eq!(
            message(&[of, ("teacher", &[&net]), two]),
            "needs.start: expected at most one cell of kind train or generate, got 2"
        );
        assert_eq!(
            message(&[of, ("taecher", &[&net])]),
            "needs.taecher: this cell has no such need; did you mean `teacher`?"
        );
    }

    #[test]
    fn what_is_not_in_the_plan_is_named() {
        let (other, mut student) = (cell("net", "train"), cell("student", "train"));
        student.needs.insert("teacher".into(), vec![other.id.clone()]);
        let error =
            Needs::of(&Specs::<()>::default(), &student).expect_err("nothing there").to_string();
        assert!(
            error.contains("needs.teacher: no cell") && error.contains(other.id.as_str()),
            "{error}"
        );
        let mut specs = Specs::default();
        specs.insert(&other, 7);
        assert_eq!(
            Needs::of(&specs, &student).expect("it is there").all("teacher"),
            [&Parsed { cell: &other, spec: 7 }]
        );
    }
}
