//! A strict reader of TOML tables: every key is taken by name, and a key that nobody took is an
//! error with the nearest name.

use toml::{Table, Value};

use super::error::{Error, Result};
use kd_base::nearest;

/// One TOML table being read: the file and the path of the table inside it, for messages, and the
/// keys that are left.
pub(crate) struct Fields<'a> {
    file: &'a str,
    path: String,
    table: Table,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Starts to read `table`, which stands at `path` of `file` (empty: the top).
    pub fn new(file: &'a str, path: impl Into<String>, table: Table) -> Self {
        Self { file, path: path.into(), table, known: Vec::new() }
    }

    /// An error about `key` of this table.
    pub fn error(&self, key: &str, message: impl std::fmt::Display) -> Error {
        Error::file(self.file, format!("{}: {message}", self.key(key)))
    }

    /// The full name of `key`: `row[teacher].spec`.
    pub fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    /// Takes an optional value of any type.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// Takes a string that has to be there.
    pub fn string(&mut self, key: &'static str) -> Result<String> {
        match self.take(key) {
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.expected(key, "a string", &other)),
            None => Err(self.missing(key)),
        }
    }

    /// The error of a key that has to be there and is not: a key that looks like a misspelling of
    /// it is what the user has to see.
    pub fn missing(&self, key: &str) -> Error {
        let left = self.table.keys().map(String::as_str).filter(|left| !self.known.contains(left));
        match nearest::nearest(key, left) {
            Some(typo) => Error::file(
                self.file,
                format!("unknown key `{}`; did you mean `{key}`?", self.key(typo)),
            ),
            None => self.error(key, "missing"),
        }
    }

    /// Takes a table; missing is empty.
    pub fn table(&mut self, key: &'static str) -> Result<Table> {
        match self.take(key) {
            Some(Value::Table(table)) => Ok(table),
            Some(other) => Err(self.expected(key, "a table", &other)),
            None => Ok(Table::new()),
        }
    }

    /// Takes an array of tables; missing is empty.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Table>> {
        let mut tables = Vec::new();
        for item in self.array(key)? {
            match item {
                Value::Table(table) => tables.push(table),
                other => return Err(self.expected(key, "an array of tables", &other)),
            }
        }
        Ok(tables)
    }

    /// Takes an array of strings; missing is empty.
    pub fn strings(&mut self, key: &'static str) -> Result<Vec<String>> {
        let mut strings = Vec::new();
        for item in self.array(key)? {
            match item {
                Value::String(text) => strings.push(text),
                other => return Err(self.expected(key, "an array of strings", &other)),
            }
        }
        Ok(strings)
    }

    /// Takes an array; missing is empty.
    pub fn array(&mut self, key: &'static str) -> Result<Vec<Value>> {
        match self.take(key) {
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.expected(key, "an array", &other)),
            None => Ok(Vec::new()),
        }
    }

    /// Ends the reading: an error if a key is left that nobody asked for.
    pub fn finish(self) -> Result<()> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => {
                let hint = nearest::hint(key, self.known.iter().copied());
                Err(Error::file(self.file, format!("unknown key `{}`{hint}", self.key(key))))
            }
        }
    }

    /// The error of a value of the wrong type.
    pub fn expected(&self, key: &str, expected: &str, got: &Value) -> Error {
        self.error(
            key,
            format_args!(
                "expected {expected}, got {} `{}`",
                got.type_str(),
                super::cell::canonical(got)
            ),
        )
    }
}
