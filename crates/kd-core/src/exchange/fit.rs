//! Which tensors of a file are those of a network.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use kd_base::message::some;

use super::words;
use crate::model::NetworkSpec;
use crate::torch_checkpoint::value::brief;
use crate::{Result, params};

/// Most prefixes behind which a network is looked for.
const MAX_PREFIXES: usize = 16;

/// A tensor of a file.
pub struct Entry {
    pub name: String,
    /// Empty where it isn't known.
    pub shape: Vec<usize>,
    /// Why it is no weight: another type of numbers, or damaged.
    pub fault: Option<String>,
    /// Equal for two names of one tensor.
    pub same: usize,
}

/// The tensors of a network.
pub struct Wanted {
    /// Names and shapes in the order in which the network is built.
    tensors: Vec<(String, Vec<usize>)>,
    shapes: HashMap<String, Vec<usize>>,
    /// Biases of convolutions that it doesn't have, by the running means that could take them.
    foldable: HashMap<String, String>,
}

impl Wanted {
    /// # Errors
    /// Bad input when there is no such network.
    pub fn of(network: &NetworkSpec) -> Result<Self> {
        let asked = params::shapes_of(|vb| network.build(vb))?;
        let tensors: Vec<(String, Vec<usize>)> =
            asked.into_iter().map(|(name, shape)| (name, shape.dims().to_vec())).collect();
        let shapes: HashMap<_, _> = tensors.iter().cloned().collect();
        let mut wanted = Self { tensors, shapes, foldable: HashMap::new() };
        if network.norms_follow_convolutions() {
            let layers = layers(wanted.tensors.iter().map(|(n, s)| (&**n, &**s, 0)));
            let foldable = layers.windows(2).filter_map(|pair| {
                let convolution = pair[0].leaf("weight").filter(|shape| shape.len() == 4)?;
                let takes = pair[0].leaves.len() == 1
                    && pair[1].leaf("running_mean") == Some(&convolution[..1]);
                let names = (join(pair[0].path, "bias"), join(pair[1].path, "running_mean"));
                takes.then_some(names)
            });
            wanted.foldable = foldable.collect();
        }
        Ok(wanted)
    }

    /// Names and shapes.
    pub fn tensors(&self) -> &[(String, Vec<usize>)] {
        &self.tensors
    }
}

/// How a network's tensors may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By their names, behind a prefix perhaps.
    Names,
    /// By other words for the same layers, and by the layers' order, too.
    All,
}

/// Where a network's tensors are.
pub struct Fit {
    /// Each name with its place among the entries.
    pub from: Vec<(String, usize)>,
    /// The names of running means, each with the place of the bias that is to be taken off.
    pub folded: Vec<(String, usize)>,
    /// What is not plain, for the user.
    pub notes: Vec<String>,
}

/// Why a network's tensors were not found.
pub enum Misfit {
    /// What is of another shape, missing and extra.
    Other(Vec<String>),
    /// A tensor has the right name, and this is wrong with it.
    Unreadable(String),
    /// The network is there behind each of these prefixes.
    Several(Vec<String>),
    /// Nothing has the prefix that was given.
    NoPrefix(String),
}

/// Names, as they are compared, with their places among the entries.
type View<'a> = Vec<(&'a str, usize)>;

/// Finds the network's tensors among `entries`; `ordered` says whether these are in the order of
/// the layers, and `prefix` what the names begin with, if that is given.
///
/// # Errors
/// What does not fit.
pub fn fit(
    entries: &[Entry],
    ordered: bool,
    wanted: &Wanted,
    means: Means,
    prefix: Option<&str>,
) -> std::result::Result<Fit, Misfit> {
    let all: View = entries.iter().enumerate().map(|(i, e)| (&*e.name, i)).collect();
    let search = Search { entries, wanted };
    let (mut view, mut notes) = (all.clone(), Vec::new());
    if let Some(prefix) = prefix {
        view = behind(&all, prefix);
        if view.is_empty() {
            return Err(Misfit::NoPrefix(prefix.to_owned()));
        }
        notes.push(format!("names behind {}", brief(prefix)));
    }
    loop {
        if let Some(fit) = search.exact(&view)? {
            return Ok(fit.noted(notes));
        }
        let Some(shared) = shared_prefix(&view) else { break };
        notes.push(format!("names behind {}", brief(&shared)));
        view = behind(&view, &shared);
    }
    if prefix.is_none()
        && let Some(fit) = search.behind_one(&all)?
    {
        return Ok(fit);
    }
    if means == Means::All {
        let names: Vec<&str> = view.iter().map(|(name, _)| *name).collect();
        let own: Vec<&str> = wanted.tensors.iter().map(|(name, _)| &**name).collect();
        if let Some((renamed, mapping)) = words::translate(&names, &own) {
            let other: View =
                renamed.iter().zip(&view).map(|(name, (_, i))| (&**name, *i)).collect();
            if let Some(fit) = search.exact(&other)? {
                return Ok(fit.noted(mapping).noted(notes));
            }
        }
        if ordered && let Some((fit, mapping)) = search.by_order(&view) {
            return Ok(fit.noted(mapping).noted(notes));
        }
    }
    Err(Misfit::Other(search.misfits(&view)))
}

/// Those whose names begin with `prefix`, without it.
fn behind<'a>(view: &View<'a>, prefix: &str) -> View<'a> {
    view.iter().filter_map(|(name, i)| Some((name.strip_prefix(prefix)?, *i))).collect()
}

/// What is to be taken off: `student.` if any name begins with it, else the first part of all
/// names, if they have the same and more behind it.
fn shared_prefix(view: &View) -> Option<String> {
    const STUDENT: &str = "student.";
    if view.iter().any(|(name, _)| name.starts_with(STUDENT)) {
        return Some(STUDENT.to_owned());
    }
    let first = view.first()?.0;
    let prefix = &first[..=first.find('.')?];
    view.iter().all(|(name, _)| name.starts_with(prefix)).then(|| prefix.to_owned())
}

impl Fit {
    /// The same with these notes in front of its own.
    fn noted(mut self, notes: Vec<String>) -> Self {
        self.notes.splice(0..0, notes);
        self
    }
}

struct Search<'a> {
    entries: &'a [Entry],
    wanted: &'a Wanted,
}

impl Search<'_> {
    /// The network's tensors by their names, if all are there and nothing else that could belong to
    /// a network.
    ///
    /// Errors: a tensor of the right name that cannot be read.
    fn exact(&self, view: &View) -> std::result::Result<Option<Fit>, Misfit> {
        let places: HashMap<&str, usize> = view.iter().copied().collect();
        if places.len() < view.len() || self.wanted.tensors.len() > view.len() {
            return Ok(None);
        }
        let mut from = Vec::with_capacity(self.wanted.tensors.len());
        let mut unreadable = None;
        for (name, shape) in &self.wanted.tensors {
            let Some(&i) = places.get(&**name) else { return Ok(None) };
            match &self.entries[i].fault {
                Some(fault) => {
                    unreadable.get_or_insert_with(|| format!("{}: {fault}", brief(name)));
                }
                None if self.entries[i].shape != *shape => return Ok(None),
                None => {}
            }
            from.push((name.clone(), i));
        }
        if let Some(fault) = unreadable {
            return Err(Misfit::Unreadable(fault));
        }
        Ok(self.with_rest(from, view))
    }

    /// The fit, if what is left of the view is no weight of a network, or can be folded into one.
    fn with_rest(&self, from: Vec<(String, usize)>, view: &View) -> Option<Fit> {
        let used: HashSet<usize> = from.iter().map(|(_, i)| *i).collect();
        let same: HashSet<usize> = used.iter().map(|i| self.entries[*i].same).collect();
        let (mut folded, mut left, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, i) in view.iter().filter(|(_, i)| !used.contains(i)) {
            let entry = &self.entries[*i];
            if entry.fault.is_some() {
                left.push(brief(name));
            } else if let Some(mean) = self.wanted.foldable.get(*name)
                && self.wanted.shapes.get(mean) == Some(&entry.shape)
            {
                notes.push(format!("{name} is folded into {mean}"));
                folded.push((mean.clone(), *i));
            } else if !same.contains(&entry.same) {
                return None;
            }
        }
        if !left.is_empty() {
            notes.push(format!("left out, as no weights: {}", some(&left)));
        }
        Some(Fit { from, folded, notes })
    }

    /// The network behind the only prefix behind which it is; other tensors are left out.
    ///
    /// Errors: several such prefixes.
    fn behind_one(&self, all: &View) -> std::result::Result<Option<Fit>, Misfit> {
        let Some((last, _)) = self.wanted.tensors.last() else { return Ok(None) };
        let end = format!(".{last}");
        let prefixes: BTreeSet<&str> = all
            .iter()
            .filter(|(name, _)| name.ends_with(&end))
            .map(|(name, _)| &name[..name.len() - last.len()])
            .collect();
        let mut found = Vec::new();
        for prefix in prefixes.into_iter().take(MAX_PREFIXES) {
            let view = behind(all, prefix);
            if let Some(fit) = self.exact(&view)? {
                let others = all.iter().filter(|(name, _)| !name.starts_with(prefix));
                let others: Vec<String> = others.map(|(name, _)| brief(name)).collect();
                let note = format!("names behind {}; left out: {}", brief(prefix), some(&others));
                found.push((prefix, fit.noted(vec![note])));
            }
        }
        match found.len() {
            0 | 1 => Ok(found.pop().map(|(_, fit)| fit)),
            _ => Err(Misfit::Several(found.iter().map(|(prefix, _)| brief(prefix)).collect())),
        }
    }

    /// The network's tensors by the order of the layers: as many layers, each with tensors of the
    /// same last names and shapes as the network's at its place, and none with the name of another.
    fn by_order(&self, view: &View) -> Option<(Fit, Vec<String>)> {
        let mut seen = HashSet::new();
        let weights: View = view
            .iter()
            .copied()
            .filter(|(_, i)| self.entries[*i].fault.is_none() && seen.insert(self.entries[*i].same))
            .collect();
        let theirs = layers(weights.iter().map(|(name, i)| (*name, &*self.entries[*i].shape, *i)));
        let ours = layers(self.wanted.tensors.iter().map(|(n, s)| (&**n, &**s, 0)));
        if theirs.len() != ours.len() {
            return None;
        }
        let named: BTreeMap<&str, usize> =
            ours.iter().enumerate().map(|(i, layer)| (layer.path, i)).collect();
        let (mut renamed, mut pairs) = (Vec::new(), Vec::new());
        for (i, (their, our)) in theirs.iter().zip(&ours).enumerate() {
            if named.get(their.path).is_some_and(|at| *at != i) {
                return None;
            }
            let bias = join(our.path, "bias");
            for (leaf, (shape, at)) in &their.leaves {
                let is_bias = *leaf == "bias" && self.wanted.foldable.contains_key(&bias);
                if our.leaf(leaf) != Some(shape) && !is_bias {
                    return None;
                }
                renamed.push((join(our.path, leaf), *at));
            }
            if our.leaves.keys().any(|leaf| !their.leaves.contains_key(leaf)) {
                return None;
            }
            pairs.push((their.path, our.path));
        }
        let other: View = renamed.iter().map(|(name, i)| (&**name, *i)).collect();
        let fit = self.exact(&other).ok().flatten()?;
        let mut notes = vec!["layers by their order and shapes".to_owned()];
        notes.extend(words::mapping(&pairs));
        Some((fit, notes))
    }

    fn misfits(&self, view: &View) -> Vec<String> {
        let mut found = BTreeMap::new();
        for (name, i) in view.iter().filter(|(_, i)| self.entries[*i].fault.is_none()) {
            found.insert(*name, &*self.entries[*i].shape);
        }
        let wanted = self.wanted.tensors.iter().map(|(name, shape)| (&**name, &**shape)).collect();
        params::misfits(wanted, found)
    }
}

/// A layer: tensors that follow each other and differ in the last part of their names alone.
struct Layer<'a> {
    path: &'a str,
    /// Shapes and places.
    leaves: BTreeMap<&'a str, (&'a [usize], usize)>,
}

impl<'a> Layer<'a> {
    fn leaf(&self, name: &str) -> Option<&'a [usize]> {
        self.leaves.get(name).map(|(shape, _)| *shape)
    }
}

fn layers<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize], usize)>) -> Vec<Layer<'a>> {
    let mut layers: Vec<Layer> = Vec::new();
    for (name, shape, at) in tensors {
        let (path, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        match layers.last_mut().filter(|layer| layer.path == path) {
            Some(layer) => _ = layer.leaves.insert(leaf, (shape, at)),
            None => layers.push(Layer { path, leaves: BTreeMap::from([(leaf, (shape, at))]) }),
        }
    }
    layers
}

fn join(path: &str, leaf: &str) -> String {
    if path.is_empty() { leaf.to_owned() } else { format!("{path}.{leaf}") }
}
