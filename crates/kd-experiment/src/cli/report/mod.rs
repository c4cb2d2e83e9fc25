//! `report`: all results as one page of HTML.

mod found;
mod page;
mod tensorboard;

use std::io::Write;
use std::path::Path;

use kd_base::Destination;

use super::application::Application;
use super::experiments;
use super::output::say;
use crate::result::current_commit;
use crate::{Error, Paper, Result, experiment_file};

/// Writes the page: of this paper, and of the others under the results folder whose experiment files
/// are at hand. The curves also go to `tensorboard`, a folder of event files, where one is named.
///
/// # Errors
/// Bad input where there are no results, or the page cannot be written.
pub(super) fn run<P: Paper>(
    to: &Path,
    tensorboard: Option<&Path>,
    force: bool,
    application: &Application<P>,
    out: &mut dyn Write,
) -> Result<()> {
    let options = application.options;
    let place = Destination::new(to, force)?;
    let mut papers = Vec::new();
    for name in names(&options.out, application.name()) {
        let experiments = if name == application.name() {
            experiments::load(application)?.0
        } else {
            match experiments::around_working_dir(&name) {
                Some(dir) => experiment_file::load_dir(&dir)?,
                None => continue,
            }
        };
        papers.extend(found::collect(&name, experiments, &options.out, &options.runs_dir)?);
    }
    if papers.is_empty() {
        return Err(Error::bad_input(format!(
            "{}: expected tables to report, found none; run `{}` first",
            options.out.display(),
            application.name()
        )));
    }
    let about = format!(
        "Version {}, commit {}. Numbers are means over seeds; what each was computed on stands in its line.",
        env!("CARGO_PKG_VERSION"),
        current_commit()
    );
    let events =
        tensorboard.map(|folder| tensorboard::write(&papers, folder, force)).transpose()?;
    place.write(page::page(&papers, &about).as_bytes())?;
    if let Some(events) = events {
        say(out, events)?;
    }
    say(out, format!("-> {}", to.display()))
}

/// The papers that have a results folder, this one first.
fn names(results: &Path, own: &str) -> Vec<String> {
    let entries = std::fs::read_dir(results).into_iter().flatten().flatten();
    let mut others: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name != own)
        .collect();
    others.sort();
    std::iter::once(own.to_owned()).chain(others).collect()
}
