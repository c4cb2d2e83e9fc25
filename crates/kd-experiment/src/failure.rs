//! Why a cell failed, as it stands in its folder until the next attempt.

use std::path::PathBuf;

use kd_base::{Fault, message};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::holder::{self, Holder};

/// The failure of an attempt at a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Failure {
    /// Whether the user can mend it.
    pub bad_input: bool,
    /// What went wrong, as one line.
    pub cause: String,
    /// The process that tried.
    pub holder: Holder,
    /// When it failed, in seconds since 1970 by that process's clock.
    pub at: u64,
}

impl Failure {
    /// The failure of an attempt of this process, now. The cell's name is left out of the cause.
    pub(crate) fn of(error: &Error) -> Self {
        let cause = match error {
            Error::Cell { source, .. } => message::one_line(source),
            other => message::one_line(other),
        };
        let holder = Holder::this_process();
        Self { bad_input: error.is_bad_input(), cause, at: holder::now(), holder }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        if self.bad_input { Fault::BadInput } else { Fault::Program }
    }

    /// Where to read on: the log of the process, where it had one.
    pub fn log(&self) -> Option<&PathBuf> {
        self.holder.log.as_ref()
    }
}
