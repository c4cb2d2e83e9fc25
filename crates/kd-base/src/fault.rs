//! Whose fault an error is.

use std::error::Error;

/// Who has to act before a failed command can succeed. It decides a program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The user has to change something: an option, a file, a full disk.
    BadInput,
    /// The program failed: a defect, or a computation that went astray.
    Program,
    /// Nobody: the user asked it to stop, and it can go on later.
    Stopped,
}

impl Fault {
    /// The exit code of a program that ends with such an error: 2 for bad input, 1 for the
    /// program's own failure, 130 where it was asked to stop, as shells have it for SIGINT.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadInput => 2,
            Self::Program => 1,
            Self::Stopped => 130,
        }
    }
}

/// An error that says whose fault it is. Each library's error does, so nobody has to guess it from
/// a type or a message.
pub trait Blame: Error + Send + Sync + 'static {
    /// Whose fault it is.
    fn fault(&self) -> Fault;
}
