//! What a file's weights likely are, where they are not those that were expected.

use std::collections::HashMap;
use std::path::Path;

use kd_base::message::some;

use super::contents::Contents;
use super::fit::{Means, Misfit, Wanted};
use crate::Error;
use crate::model::NetworkSpec;
use crate::torch_checkpoint::value::brief;

/// The share of tensors, of the file's and of the network's, from which on a network is named that
/// a file is close to.
const CLOSE: f64 = 0.8;

/// All networks that have a name, for this many classes.
pub fn known(classes: usize) -> Vec<NetworkSpec> {
    [NetworkSpec::named(classes), NetworkSpec::padded(classes)].concat()
}

/// The error where the weights of `network` were expected and something else was found.
pub fn refusal(path: &Path, contents: &Contents, network: &NetworkSpec, misfit: Misfit) -> Error {
    let what = match misfit {
        Misfit::Unreadable(what) => what,
        Misfit::NoPrefix(prefix) => {
            let names: Vec<String> = contents.entries().iter().map(|e| brief(&e.name)).collect();
            format!("expected names behind {}, got {}", brief(&prefix), some(&names))
        }
        Misfit::Several(prefixes) => format!(
            "expected one {}, got one behind each of {}; --prefix says which",
            network.name(),
            some(&prefixes)
        ),
        Misfit::Other(faults) => {
            if let Some(entry) = contents.entries().iter().find(|e| is_quantised(e)) {
                let fault = entry.fault.as_deref().unwrap_or_default();
                return Error::bad_input(format!(
                    "{}: {}: {fault}",
                    path.display(),
                    brief(&entry.name)
                ));
            }
            let is = this_is(contents, network).map(|is| format!("; this is {is}"));
            let place: Vec<&str> = contents.notes.iter().map(|note| &**note).collect();
            let place =
                if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
            format!(
                "the weights{place} are not those of a {} of {} classes: {}{}",
                network.name(),
                network.classes(),
                some(&faults),
                is.unwrap_or_default()
            )
        }
    };
    Error::bad_input(format!("{}: {what}", path.display()))
}

fn is_quantised(entry: &super::fit::Entry) -> bool {
    entry.fault.as_deref().is_some_and(|fault| fault.contains("quantised"))
}

/// The network that the tensors are of, or are close to, in words.
fn this_is(contents: &Contents, network: &NetworkSpec) -> Option<String> {
    let mut classes: Vec<usize> =
        contents.matrices().filter(|rows| *rows >= 2).take(super::MOST_MATRICES).collect();
    classes.push(network.classes());
    for &classes in &classes {
        for spec in known(classes) {
            let fits =
                |means| Wanted::of(&spec).is_ok_and(|wanted| contents.fit(&wanted, means).is_ok());
            if fits(Means::All) {
                return Some(format!("a {} of {classes} classes", spec.name()));
            }
        }
    }
    let names: HashMap<&str, &[usize]> =
        contents.entries().iter().map(|e| (last(&e.name), &*e.shape)).collect();
    let closeness = |spec: NetworkSpec| {
        let wanted = Wanted::of(&spec).ok()?;
        let tensors = wanted.tensors();
        let same = tensors.iter().filter(|(n, s)| names.get(last(n)) == Some(&&**s)).count();
        let share = same as f64 / tensors.len().max(contents.entries().len()) as f64;
        Some((share, spec.name()))
    };
    let best = known(network.classes()).into_iter().filter_map(closeness);
    let (share, name) = best.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (share >= CLOSE).then(|| format!("close to a {name}"))
}

/// A name without what programs put in front of it.
fn last(name: &str) -> &str {
    let mut name = name;
    for prefix in ["module.", "_orig_mod.", "model."] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    name
}
