//! An interpreter of pickles, protocols 2 to 5, that runs nothing: a class or function stays a
//! name, and calling it stays a description of the call.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::ops::Range;

use super::value::{Heap, Id, Reason, Value, brief};

/// Most values of one pickle. A checkpoint holds about twenty for each of its tensors; a forged
/// file may ask for one a byte.
const MAX_VALUES: usize = 4 << 20;

/// Most operations of one pickle. Each makes at most one value, mark or place on the stack, and an
/// archive of some kilobytes can unfold to a hundred million of them.
const MAX_OPERATIONS: usize = 16 << 20;

/// Reads the pickle at the head of `bytes`; gives its values and how many bytes it took.
///
/// Work and memory are proportional to those bytes; operations beyond [`MAX_OPERATIONS`], and
/// values and remembered values beyond [`MAX_VALUES`], are refused.
pub fn read(bytes: &[u8]) -> Result<(Heap, usize), Reason> {
    let mut machine = Machine {
        input: Input { bytes, at: 0 },
        values: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MAX_OPERATIONS {
        let at = machine.input.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok((Heap { values: machine.values, root }, machine.input.at)),
            Err(what) => return Err(format!("pickle, byte {at}: {what}")),
        }
    }
    Err(format!("pickle: expected at most {MAX_OPERATIONS} operations, got more"))
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Reason> {
        let rest = &self.bytes[self.at..];
        let taken =
            rest.get(..n).ok_or_else(|| format!("expected {n} bytes more, got {}", rest.len()))?;
        self.at += n;
        Ok(taken)
    }

    /// A little-endian number of `n` bytes, at most 8.
    fn number(&mut self, n: usize) -> Result<u64, Reason> {
        Ok(self.take(n)?.iter().rev().fold(0, |sum, &b| sum << 8 | u64::from(b)))
    }

    /// Bytes behind a length of `n` bytes.
    fn counted(&mut self, n: usize) -> Result<&'a [u8], Reason> {
        let length = self.number(n)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Where the `n` bytes stand that were taken last.
    fn last(&self, n: usize) -> Range<usize> {
        self.at - n..self.at
    }

    fn line(&mut self) -> Result<&'a str, Reason> {
        let rest = &self.bytes[self.at..];
        let end =
            rest.iter().position(|&b| b == b'\n').ok_or("expected a line, got no end of it")?;
        self.at += end + 1;
        utf8(&rest[..end])
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Reason> {
    std::str::from_utf8(bytes).map_err(|_| "expected UTF-8, got other bytes".into())
}

struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl Machine<'_> {
    /// One operation; gives the outermost value when the pickle ends.
    fn step(&mut self) -> Result<Option<Id>, Reason> {
        let op = self.input.take(1)?[0];
        match op {
            0x80 => match self.input.number(1)? {
                2..=5 => {}
                version => return Err(format!("expected protocol 2 to 5, got {version}")),
            },
            // A frame only announces how many bytes follow.
            0x95 => drop(self.input.take(8)?),
            b'.' => return self.pop().map(Some),

            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let n = self.input.number(4)? as u32 as i32;
                self.push(Value::Int(n.into()))?;
            }
            b'K' => self.unsigned(1)?,
            b'M' => self.unsigned(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let bits = self.input.number(8)?.swap_bytes();
                self.push(Value::Float(f64::from_bits(bits)))?;
            }

            b'X' => self.string(4)?,
            0x8c => self.string(1)?,
            0x8d => self.string(8)?,
            // Strings of Python 2: text where they can be, bytes otherwise.
            b'U' => self.old_string(1)?,
            b'T' => self.old_string(4)?,
            b'C' => self.binary(1)?,
            b'B' => self.binary(4)?,
            0x8e | 0x96 => self.binary(8)?,

            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }

            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'l' | 0x91 => {
                let items = self.above_mark()?;
                self.push(Value::List(items))?;
            }
            b't' => {
                let items = self.above_mark()?;
                self.push(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let n = usize::from(op - 0x84);
                let start = self.below(n)?;
                let items = self.stack.split_off(start);
                self.push(Value::Tuple(items))?;
            }
            b'd' => {
                let items = pairs(&self.above_mark()?)?;
                self.push(Value::Dict(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.above_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set_items(&items)?;
            }

            b'c' => {
                let name = format!("{}.{}", self.input.line()?, self.input.line()?);
                self.push(Value::Global(name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = match (&self.values[module], &self.values[name]) {
                    (Value::Text(module), Value::Text(name)) => self.joined(module, name)?,
                    _ => {
                        return Err(
                            "expected the module and name of a class, got other values".into()
                        );
                    }
                };
                self.push(Value::Global(name))?;
            }
            b'R' | 0x81 => {
                let (args, class) = (self.pop()?, self.pop()?);
                self.push(Value::Object { class, args, items: Vec::new(), state: None })?;
            }
            0x92 => {
                let (_, args, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(Value::Object { class, args, items: Vec::new(), state: None })?;
            }
            b'b' => {
                let (given, top) = (self.pop()?, self.top()?);
                if let Value::Object { state, .. } = &mut self.values[top] {
                    *state = NonZeroUsize::new(given);
                }
            }

            b'q' => self.remember(1)?,
            b'r' => self.remember(4)?,
            0x94 => {
                let (key, top) = (self.memo.len() as u64, self.top()?);
                self.memoize(key, top)?;
            }
            b'h' => self.get_memo(1)?,
            b'j' => self.get_memo(4)?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id))?;
            }
            other => {
                return Err(format!(
                    "operation {other:#04x} is not one of those that checkpoints use"
                ));
            }
        }
        Ok(None)
    }

    fn push(&mut self, value: Value) -> Result<(), Reason> {
        if self.values.len() == MAX_VALUES {
            return Err(format!("expected at most {MAX_VALUES} values, got more"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn unsigned(&mut self, bytes: usize) -> Result<(), Reason> {
        let n = self.input.number(bytes)?;
        self.push(Value::Int(n.into()))
    }

    /// A signed number behind its length. One of more than 16 bytes, which no checkpoint needs, is
    /// kept as bytes.
    fn long(&mut self, width: usize) -> Result<(), Reason> {
        let bytes = self.input.counted(width)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        self.push(match bytes.len() {
            0..=16 => Value::Int(
                bytes.iter().rev().fold(-i128::from(negative), |sum, &b| sum << 8 | i128::from(b)),
            ),
            n => Value::Bytes(self.input.last(n)),
        })
    }

    fn string(&mut self, width: usize) -> Result<(), Reason> {
        // Python can also pickle half of a surrogate pair, as three bytes that are not UTF-8; no
        // name in a checkpoint has one.
        let text = utf8(self.input.counted(width)?)?.to_owned();
        self.push(Value::Text(text))
    }

    fn old_string(&mut self, width: usize) -> Result<(), Reason> {
        let bytes = self.input.counted(width)?;
        let value = utf8(bytes).map_or_else(
            |_| Value::Bytes(self.input.last(bytes.len())),
            |text| Value::Text(text.to_owned()),
        );
        self.push(value)
    }

    fn binary(&mut self, width: usize) -> Result<(), Reason> {
        let n = self.input.counted(width)?.len();
        self.push(Value::Bytes(self.input.last(n)))
    }

    /// The name of a class. Its parts come from values that can be named again and again, so their
    /// length is limited.
    fn joined(&self, module: &str, name: &str) -> Result<String, Reason> {
        match module.len() + name.len() {
            0..=400 => Ok(format!("{module}.{name}")),
            n => Err(format!("expected the name of a class, got {n} bytes: {}", brief(module))),
        }
    }

    fn top(&self) -> Result<Id, Reason> {
        self.below(1).map(|at| self.stack[at])
    }

    fn pop(&mut self) -> Result<Id, Reason> {
        let at = self.below(1)?;
        Ok(self.stack.swap_remove(at))
    }

    /// Where the last `n` values begin, if so many stand above the last mark.
    fn below(&self, n: usize) -> Result<usize, Reason> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack
            .len()
            .checked_sub(n)
            .filter(|at| *at >= floor)
            .ok_or_else(|| "expected a value on the stack, got none".into())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, Reason> {
        let mark = self.marks.pop().ok_or("expected a mark on the stack, got none")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, more: &[Id]) -> Result<(), Reason> {
        let top = self.top()?;
        match &mut self.values[top] {
            Value::List(items) => items.extend_from_slice(more),
            // A kind of list that is not ours to know.
            Value::Object { .. } => {}
            _ => return Err("expected a list to append to, got another value".into()),
        }
        Ok(())
    }

    fn set_items(&mut self, flat: &[Id]) -> Result<(), Reason> {
        let more = pairs(flat)?;
        let top = self.top()?;
        match &mut self.values[top] {
            Value::Dict(items) | Value::Object { items, .. } => items.extend(more),
            _ => return Err("expected a dictionary to put items in, got another value".into()),
        }
        Ok(())
    }

    fn remember(&mut self, width: usize) -> Result<(), Reason> {
        let (key, top) = (self.input.number(width)?, self.top()?);
        self.memoize(key, top)
    }

    fn memoize(&mut self, key: u64, id: Id) -> Result<(), Reason> {
        if self.memo.len() == MAX_VALUES {
            return Err(format!("expected at most {MAX_VALUES} remembered values, got more"));
        }
        self.memo.insert(key, id);
        Ok(())
    }

    fn get_memo(&mut self, width: usize) -> Result<(), Reason> {
        let key = self.input.number(width)?;
        let id = self
            .memo
            .get(&key)
            .copied()
            .ok_or_else(|| format!("expected a value remembered as {key}, got none"))?;
        self.stack.push(id);
        Ok(())
    }
}

fn pairs(flat: &[Id]) -> Result<Vec<(Id, Id)>, Reason> {
    match flat.len() % 2 {
        0 => Ok(flat.chunks_exact(2).map(|kv| (kv[0], kv[1])).collect()),
        _ => Err(format!("expected keys with values, got {} of both", flat.len())),
    }
}
