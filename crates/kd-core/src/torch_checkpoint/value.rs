//! The values that a pickle describes, as data: nothing is constructed or called.

use std::num::NonZeroUsize;
use std::ops::Range;

/// What is wrong with a file; the caller adds its name.
pub type Reason = String;

/// Where a value stands in its [`Heap`].
pub type Id = usize;

/// One value. What it is made of is named by [`Id`], so that values can be shared, contain
/// themselves and be dropped, all without recursion.
#[derive(Debug)]
pub enum Value {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    /// Where they stand in the pickle.
    Bytes(Range<usize>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by name.
    Global(String),
    /// What calling `class` on `args` would have made, with the items that were then set on it and
    /// the state it was given last.
    Object {
        class: Id,
        args: Id,
        items: Vec<(Id, Id)>,
        /// Never the pickle's first value, which is there before any object is; so that a value
        /// stays small.
        state: Option<NonZeroUsize>,
    },
    /// A reference to something outside the pickle: in a checkpoint, a storage of numbers.
    Persistent(Id),
}

/// All values of one pickle, and which of them is the outermost.
#[derive(Debug)]
pub struct Heap {
    pub values: Vec<Value>,
    pub root: Id,
}

impl Heap {
    /// The value at `id`.
    pub fn get(&self, id: Id) -> &Value {
        // Ids are made by the interpreter, which never hands one out before its value exists.
        &self.values[id]
    }

    /// The entries of a dictionary or of one of its kin (`OrderedDict`, `defaultdict`), `None` for
    /// other values.
    pub fn entries(&self, id: Id) -> Option<Vec<(Id, Id)>> {
        match self.get(id) {
            Value::Dict(items) => Some(items.clone()),
            Value::Object { class, args, items, .. } => match self.global(*class)? {
                "collections.defaultdict" => Some(items.clone()),
                // Python 2 writes the entries as a list of pairs among the arguments.
                "collections.OrderedDict" => match self.tuple(*args)? {
                    [] => Some(items.clone()),
                    [list] => self
                        .list(*list)?
                        .iter()
                        .map(|pair| self.pair(*pair))
                        .chain(items.iter().map(|kv| Some(*kv)))
                        .collect(),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    fn pair(&self, id: Id) -> Option<(Id, Id)> {
        match *self.tuple(id).or_else(|| self.list(id))? {
            [key, value] => Some((key, value)),
            _ => None,
        }
    }

    /// The last value under the key `key`, as Python keeps it.
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        self.entries(id)?.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, v)| *v)
    }

    /// The items of a list.
    pub fn list(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a tuple.
    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// An integer that is a size: not negative, and within a machine word.
    pub fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The full name of a class or function.
    pub fn global(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Global(name) => Some(name),
            _ => None,
        }
    }

    /// What a value is, in a few words, for a message.
    pub fn kind(&self, id: Id) -> String {
        match self.get(id) {
            Value::None => "None".into(),
            Value::Bool(_) => "a bool".into(),
            Value::Int(_) => "an integer".into(),
            Value::Float(_) => "a float".into(),
            Value::Text(_) => "a string".into(),
            Value::Bytes(_) => "bytes".into(),
            Value::List(_) => "a list".into(),
            Value::Tuple(_) => "a tuple".into(),
            Value::Dict(items) => format!("a dictionary of {} entries", items.len()),
            Value::Global(name) => format!("the name {}", brief(name)),
            Value::Object { class, .. } => match self.get(*class) {
                Value::Global(name) => format!("an object of {}", brief(name)),
                _ => "an object".into(),
            },
            Value::Persistent(_) => "a storage".into(),
        }
    }
}

/// A name from a file, made fit for a line of a message: control characters and all beyond 60
/// characters are left out.
pub fn brief(name: &str) -> String {
    let mut text: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    text
}
