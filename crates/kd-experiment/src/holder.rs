//! Who holds a lock, and whether it lives.
//!
//! A process is told by the kernel it runs under (its boot id), the numbering of processes that it
//! belongs to (a container has its own), its id and the moment at which it was started: a process
//! that has been given the id of a dead one is another. Linux says all of this below `/proc`. Where
//! it does not, and of a process on another machine, nobody here can say whether it lives.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::duration::duration;

/// A process that holds a lock, as it wrote it down itself. A text that the system does not tell is
/// empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// What tells it from another machine of the same name (`/etc/machine-id`).
    pub machine: String,
    /// This run of its kernel.
    pub boot: String,
    /// The numbering of processes to which the id belongs.
    pub namespace: String,
    /// The user: other users' processes may be hidden.
    pub user: String,
    /// The process's id.
    pub process: u32,
    /// When it was started, in the kernel's ticks since the boot.
    pub started: String,
    /// When it took the lock, in seconds since 1970 by its own clock.
    pub since: u64,
    /// The file that its messages go to; none where that is a terminal or a pipe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
}

/// Whether a holder lives, as far as it can be seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Lives,
    /// It ended, but its kernel still runs.
    Ended,
    /// Its machine was started again since.
    EarlierBoot,
    /// Nobody here can say.
    Unseen,
}

impl Holder {
    /// This process, now.
    pub fn this_process() -> Self {
        let read = |path: &str| {
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let process = std::process::id();
        let namespace = fs::read_link("/proc/self/ns/pid");
        Self {
            host: read("/proc/sys/kernel/hostname"),
            machine: read("/etc/machine-id"),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.map(|link| link.display().to_string()).unwrap_or_default(),
            user: user(),
            process,
            started: standing(process).map(|(started, _)| started).unwrap_or_default(),
            since: now(),
            log: log(),
        }
    }

    /// `process 12 on node7`.
    pub fn name(&self) -> String {
        let host = if self.host.is_empty() { "an unnamed machine" } else { &self.host };
        format!("process {} on {host}", self.process)
    }

    /// `process 12 on node7, for 3m`.
    pub fn since_when(&self) -> String {
        // Clocks of two machines may differ.
        let seconds = now().saturating_sub(self.since);
        format!("{}, for {}", self.name(), duration(seconds as f64))
    }

    /// Whether it lives, as far as `here`, a process of this machine, can see.
    pub(crate) fn life(&self, here: &Self) -> Life {
        let same = |a: &str, b: &str| !a.is_empty() && a == b;
        if same(&self.boot, &here.boot) {
            let visible = same(&self.namespace, &here.namespace) && same(&self.user, &here.user);
            return match standing(self.process) {
                _ if !visible || here.started.is_empty() => Life::Unseen,
                Some((started, true)) if started == self.started => Life::Lives,
                _ => Life::Ended,
            };
        }
        let known = !self.boot.is_empty() && !here.boot.is_empty();
        if known && same(&self.host, &here.host) && same(&self.machine, &here.machine) {
            Life::EarlierBoot
        } else {
            Life::Unseen
        }
    }
}

/// When the process of this id was started, and whether it still does anything: one that ended and
/// whose parent has not asked after it is still listed. None where there is no such process, or no
/// `/proc`.
fn standing(process: u32) -> Option<(String, bool)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may itself have some.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?;
    Some((started.to_owned(), !["Z", "X", "x"].contains(&state)))
}

#[cfg(unix)]
fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").map(|me| me.uid().to_string()).unwrap_or_default()
}

#[cfg(not(unix))]
fn user() -> String {
    String::new()
}

/// The file that this process's messages go to, where they go to a file that has a name.
pub(crate) fn log() -> Option<PathBuf> {
    let path = fs::read_link("/proc/self/fd/2").ok()?;
    path.is_file().then_some(path)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn of(process: u32) -> Holder {
        let (started, _) = standing(process).expect("it runs");
        Holder { process, started, ..Holder::this_process() }
    }

    #[test]
    fn this_process_lives_and_another_under_its_id_does_not() {
        let here = Holder::this_process();
        assert_eq!(here.life(&here), Life::Lives);
        let reused = Holder { started: "1".into(), ..here.clone() };
        assert_eq!(reused.life(&here), Life::Ended);
    }

    #[test]
    fn a_killed_process_has_ended_before_and_after_its_parent_asks() {
        let here = Holder::this_process();
        let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
        let holder = of(child.id());
        assert_eq!(holder.life(&here), Life::Lives);
        child.kill().unwrap();
        let start = std::time::Instant::now();
        while holder.life(&here) == Life::Lives && start.elapsed().as_secs() < 20 {
            std::thread::yield_now();
        }
        assert_eq!(holder.life(&here), Life::Ended, "not asked after yet");
        child.wait().unwrap();
        assert_eq!(holder.life(&here), Life::Ended);
    }

    #[test]
    fn only_what_can_be_seen_from_here_is_said_to_have_ended() {
        let here = Holder::this_process();
        let gone = Holder { process: u32::MAX, ..here.clone() };
        assert_eq!(gone.life(&here), Life::Ended);
        let text = |text: &str| text.to_owned();
        for unseen in [
            Holder { namespace: text("pid:[1]"), ..gone.clone() },
            Holder { user: text("nobody"), ..gone.clone() },
            Holder { boot: text("another"), host: text("another"), ..gone.clone() },
            Holder { boot: text("another"), machine: text("another"), ..gone.clone() },
            Holder { boot: String::new(), ..gone.clone() },
            Holder::default(),
        ] {
            assert_eq!(unseen.life(&here), Life::Unseen, "{unseen:?}");
        }
    }

    #[test]
    fn a_holder_of_an_earlier_boot_of_this_machine_is_known() {
        let named = Holder { machine: "m".into(), host: "h".into(), ..Holder::this_process() };
        let earlier = Holder { boot: "earlier".into(), ..named.clone() };
        assert_eq!(earlier.life(&named), Life::EarlierBoot);
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        let here = Holder { log: Some("/a b/\"c\".log".into()), ..Holder::this_process() };
        let text = toml::to_string(&here).unwrap();
        assert_eq!(toml::from_str::<Holder>(&text).unwrap(), here);
    }
}
