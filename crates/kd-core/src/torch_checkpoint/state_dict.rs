//! Where in a checkpoint a network's weights are, and what each of them is before it is read.

use std::collections::HashSet;

use super::tensor::{self, StorageView};
use super::value::{Heap, Id, Reason, Value, brief};

/// The keys under which training programs keep a network's weights, in the order in which they are
/// looked for.
pub const WRAPPERS: [&str; 9] = [
    "model",
    "state_dict",
    "model_state_dict",
    "net",
    "weights",
    "network",
    "params",
    "model_state",
    "student",
];
/// How deep a state dict is looked for below the top.
const DEPTH: usize = 2;
/// Most entries of dictionaries that are looked at to find a state dict. Many dictionaries can
/// share their entries.
const MAX_ENTRIES: usize = 4 << 20;
/// The longest name of a tensor. A million tensors could share a long one.
const MAX_NAME: usize = 1024;

/// A network's weights as a checkpoint lists them.
pub struct StateDict {
    /// The keys that lead to it from the top, with points between them; empty at the top.
    pub key: String,
    /// Its tensors, in the order of the file.
    pub tensors: Vec<Named>,
}

/// A tensor of a state dict before its numbers are read.
pub struct Named {
    pub name: String,
    pub id: Id,
    /// Where its numbers lie, or why it can't be read.
    pub view: Result<StorageView, Reason>,
}

/// A dictionary that has tensors.
struct Candidate {
    key: String,
    id: Id,
    tensors: usize,
}

/// Finds the state dict: at `key` if one is given, else under the first of [`WRAPPERS`] that has
/// tensors, else where most of the tensors are, the top or one key below it.
///
/// # Errors
/// When nothing there has tensors, or several dictionaries have equally many.
pub fn find(heap: &Heap, key: Option<&str>) -> Result<StateDict, Reason> {
    match key {
        Some(key) => at(heap, key, follow(heap, key)?),
        None => search(heap).and_then(|found| at(heap, &found.key, found.id)),
    }
}

/// The value that a key with points leads to.
fn follow(heap: &Heap, key: &str) -> Result<Id, Reason> {
    if let Some(id) = heap.entry(heap.root, key) {
        return Ok(id);
    }
    key.split('.').try_fold(heap.root, |id, part| {
        heap.entry(id, part)
            .ok_or_else(|| format!("expected a key {}, got {}", brief(part), keys(heap, id)))
    })
}

fn search(heap: &Heap) -> Result<Candidate, Reason> {
    let mut found = candidates(heap)?;
    let rank = |candidate: &Candidate| {
        WRAPPERS.iter().position(|name| candidate.key.rsplit('.').next() == Some(name))
    };
    if let Some(known) =
        (0..found.len()).filter_map(|i| Some((rank(&found[i])?, found[i].key.len(), i))).min()
    {
        return Ok(found.swap_remove(known.2));
    }
    let most = found.iter().map(|c| c.tensors).max().unwrap_or(0);
    let named: Vec<String> =
        found.iter().filter(|c| c.tensors == most).map(|c| brief(&c.key)).collect();
    if named.len() > 1 && !found.iter().any(|c| c.tensors == most && c.key.is_empty()) {
        return Err(format!(
            "expected one state dict, got {} of {most} tensors each: {}; --key says which",
            named.len(),
            kd_base::message::some(&named)
        ));
    }
    let best = found.into_iter().find(|c| c.tensors == most && most > 0);
    best.ok_or_else(|| missing(heap))
}

/// Every dictionary down to [`DEPTH`] that has tensors, once each; those of an optimiser aside.
fn candidates(heap: &Heap) -> Result<Vec<Candidate>, Reason> {
    let (mut found, mut seen, mut looked_at) = (Vec::new(), HashSet::from([heap.root]), 0);
    let mut level = vec![(String::new(), heap.root)];
    for depth in 0..=DEPTH {
        let mut below = Vec::new();
        for (key, id) in level {
            let Some(entries) = heap.entries(id) else { continue };
            looked_at += entries.len();
            if looked_at > MAX_ENTRIES {
                return Err(format!("expected at most {MAX_ENTRIES} entries, got more"));
            }
            let mut tensors = 0;
            for (name, value) in entries {
                let Some(name) = heap.text(name).filter(|name| name.len() <= MAX_NAME) else {
                    continue;
                };
                if tensor::is_tensor(heap, value) || tensor::is_quantised(heap, value) {
                    tensors += 1;
                } else if depth < DEPTH
                    && matches!(heap.get(value), Value::Dict(_) | Value::Object { .. })
                    && !name.starts_with("optim")
                    && seen.insert(value)
                {
                    let dot = if key.is_empty() { "" } else { "." };
                    below.push((format!("{key}{dot}{name}"), value));
                }
            }
            if tensors > 0 {
                found.push(Candidate { key, id, tensors });
            }
        }
        level = below;
    }
    Ok(found)
}

/// Why there is no state dict.
fn missing(heap: &Heap) -> Reason {
    let under = WRAPPERS.iter().find_map(|key| Some((*key, heap.entry(heap.root, key)?)));
    let module = under.filter(|(_, id)| is_module(heap, *id));
    let (place, id) = module.unwrap_or(("the top", heap.root));
    if is_module(heap, id) && tensor::is_tensor(heap, id) {
        return match tensor::storage_view(heap, id) {
            Ok(view) => format!("expected a state dict, got one tensor of shape {:?}", view.shape),
            Err(_) => "expected a state dict, got one tensor".to_owned(),
        };
    }
    match is_module(heap, id) {
        true => format!(
            "expected a state dict at {place}, got {}: save its state_dict() instead",
            heap.kind(id)
        ),
        false => format!(
            "expected a state dict at the top or under one of {}, got {}",
            WRAPPERS.join(", "),
            keys(heap, id)
        ),
    }
}

/// Whether a value is an object that is no dictionary.
fn is_module(heap: &Heap, id: Id) -> bool {
    matches!(heap.get(id), Value::Object { .. }) && heap.entries(id).is_none()
}

/// What a value is, with some of its keys.
fn keys(heap: &Heap, id: Id) -> String {
    let entries = heap.entries(id).unwrap_or_default();
    let names: Vec<String> =
        entries.iter().filter_map(|(key, _)| heap.text(*key)).map(brief).take(100).collect();
    match names.is_empty() {
        true => format!("{} without tensors", heap.kind(id)),
        false => format!("a dictionary with the keys {}", kd_base::message::some(&names)),
    }
}

/// The tensors of the dictionary at `id`.
fn at(heap: &Heap, key: &str, id: Id) -> Result<StateDict, Reason> {
    let place = if key.is_empty() { "the top" } else { key };
    let entries = heap
        .entries(id)
        .ok_or_else(|| format!("expected a state dict at {place}, got {}", heap.kind(id)))?;
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, id) in entries {
        // What is no tensor is no weight: a count kept as an integer, a state that is None.
        let (is_tensor, is_quantised) =
            (tensor::is_tensor(heap, id), tensor::is_quantised(heap, id));
        if !is_tensor && !is_quantised {
            continue;
        }
        let name = heap.text(name).ok_or_else(|| {
            format!("expected names in the state dict at {place}, got {}", heap.kind(name))
        })?;
        if name.len() > MAX_NAME {
            return Err(format!(
                "expected names of at most {MAX_NAME} bytes, got {}: {}",
                name.len(),
                brief(name)
            ));
        }
        let view = match is_quantised {
            true => Err("expected floating-point numbers, got quantised ones".to_owned()),
            false => tensor::storage_view(heap, id),
        };
        tensors.push(Named { name: name.to_owned(), id, view });
    }
    if tensors.is_empty() {
        return Err(format!(
            "expected a state dict at {place}, got {} without tensors",
            heap.kind(id)
        ));
    }
    Ok(StateDict { key: key.to_owned(), tensors })
}
