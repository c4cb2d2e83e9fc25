//! The scripts of the jobs, for bash.
//!
//! The shell of a task stays with the program, because somebody has to queue the task again. Slurm
//! sends it SIGTERM before the time limit (`--signal=B:TERM@120`); at a preemption or when a task is
//! cancelled, Slurm may send SIGTERM to both. So the shell hands it on as SIGUSR1, of which the
//! program takes any number ([`kd_base::stop`]): a second SIGTERM would end it before it has saved.
//! A task that Slurm no longer counts as running was cancelled, or Slurm queues it again itself.

use std::ffi::{OsStr, OsString};

use crate::{Error, Group, Result};

/// What all scripts of a submission share.
pub(super) struct Script {
    /// `cd` and the reason to stay out.
    head: String,
    /// The program, quoted.
    program: String,
    /// The tables, quoted.
    tables: String,
    /// Its options, quoted.
    options: String,
    /// `--expect-data`, quoted.
    data: String,
}

impl Script {
    /// For this program in this folder, with the tables and options of its tasks, and with the data
    /// that they have to find.
    ///
    /// # Errors
    /// When the program or the working directory cannot be found.
    pub(super) fn new(tables: Vec<OsString>, options: &[OsString], data: &str) -> Result<Self> {
        let program = std::env::current_exe().map_err(Error::io("find", "the program".as_ref()))?;
        let here = std::env::current_dir().map_err(Error::io("find", ".".as_ref()))?;
        Ok(Self {
            head: format!("cd -- {} || exit 2\n", quoted(here.as_os_str())),
            program: quoted(program.as_os_str()),
            tables: quoted_all(&tables),
            options: quoted_all(options),
            data: quoted(format!("--expect-data={data}").as_ref()),
        })
    }

    /// The command line of the program's command `name`.
    fn command(&self, name: &str, more: &[&str]) -> String {
        let Self { program, tables, options, .. } = self;
        let mut words = vec![program.as_str(), name, tables, options];
        words.extend(more);
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }

    /// The script of a group's tasks; `what` says what they are.
    pub(super) fn of_group(&self, group: Group, shards: usize, what: &str) -> String {
        let shard = format!("--shard=\"${{SLURM_ARRAY_TASK_ID:?}}/{shards}\"");
        let run = self.command("run", &[&format!("--group={group}"), &shard, &self.data]);
        format!("#!/usr/bin/env bash\n# {what}\n{}{}{run} &\n{}", self.head, BEFORE, BEHIND)
    }

    /// The script of the last job.
    pub(super) fn of_tables(&self) -> String {
        let (table, status) = (self.command("table", &[&self.data]), self.command("status", &[]));
        let head = &self.head;
        format!(
            "#!/usr/bin/env bash\n# The tables of what is finished, and what is not.\n{head}{table}\ncode=$?\n{status}\nexit $code\n"
        )
    }
}

const BEFORE: &str = r#"
# The program saves and ends with code 130 when it is asked to stop: two minutes before the time limit by a signal to
# this shell, otherwise perhaps by one to both. SIGUSR1 may come behind another.
child= asked= woken=
trap 'asked=yes woken=yes; [ -n "$child" ] && kill -USR1 "$child" 2>/dev/null' TERM
"#;

const BEHIND: &str = r#"child=$!
[ -n "$asked" ] && kill -USR1 "$child" 2>/dev/null
code= woken=yes
while [ -n "$woken" ]; do # A signal ends the wait, not the program.
    woken=
    wait "$child"
    now=$?
    [ -n "$code" ] && [ "$now" -eq 127 ] || code=$now
done
if [ "$code" -eq 130 ] || { [ -n "$asked" ] && [ "$code" -gt 128 ]; }; then
    task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
    if [ "$(squeue --noheader --jobs="$task" --format=%T)" != RUNNING ]; then
        echo "$task: stopped, and Slurm does not count it as running: cancelled, or queued again by Slurm" >&2
    elif [ "$SECONDS" -lt 60 ] && [ "${SLURM_RESTART_COUNT:-0}" -ge 5 ]; then
        echo "$task: asked to stop within a minute for the sixth time; not queued again" >&2
    elif scontrol requeue "$task"; then
        echo "$task: queued again, to go on from its state" >&2
    else
        echo "$task: could not be queued again; submit goes on from its state" >&2
    fi
fi
exit "$code"
"#;

/// Words for bash, with spaces between them.
pub(super) fn quoted_all(words: &[OsString]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word that bash reads as these bytes, on one line.
pub(super) fn quoted(word: &OsStr) -> String {
    let bytes = word.as_encoded_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(byte);
    if !bytes.is_empty() && bytes.iter().all(plain) {
        return word.to_string_lossy().into_owned();
    }
    match word.to_str() {
        Some(text) if !text.chars().any(char::is_control) => {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
        // Escapes of bash's own, byte by byte: line ends, and what is no text.
        _ => {
            let escaped = |byte: &u8| match byte {
                b'\'' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                other => format!("\\x{other:02x}"),
            };
            format!("$'{}'", bytes.iter().map(escaped).collect::<String>())
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    #[test]
    fn bash_reads_each_word_as_it_was() {
        let words: [&[u8]; 12] = [
            b"plain-1.0/a=b",
            b"",
            b"two words",
            b"it's",
            b"\"quoted\" $HOME `ls` \\n",
            b"a\nb\r\tc",
            b"~",
            b"*",
            b"a;b&c|d>e#f!g",
            "é ü".as_bytes(),
            b"\xff\xfe'\\",
            b"\x01'1",
        ];
        let words = words.map(OsStr::from_bytes);
        let line = quoted_all(&words.map(OsStr::to_owned));
        assert!(!line.contains('\n'), "{line}");
        let script = format!("printf '%s\\0' {line}");
        let said = Command::new("bash").args(["-c", &script]).output().expect("bash");
        assert!(said.status.success(), "{said:?}");
        let read: Vec<&OsStr> = said.stdout.split(|b| *b == 0).map(OsStr::from_bytes).collect();
        assert_eq!(read[..words.len()], words);
        assert_eq!(read.len(), words.len() + 1);
    }

    #[test]
    fn escapes_end_where_they_should() {
        // In $'...' a hexadecimal escape takes two digits at most.
        assert_eq!(quoted(OsStr::from_bytes(b"\n1")), "$'\\x0a1'");
    }
}
