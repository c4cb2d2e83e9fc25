//! Slurm's `sbatch`: what it is given, and what it says.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use kd_base::message;

use crate::{Error, Group, Result};

/// Options that decide what `submit` decides, long and short.
const OURS: [(&str, Option<&str>); 6] = [
    ("--array", Some("-a")),
    ("--dependency", Some("-d")),
    ("--parsable", None),
    ("--test-only", None),
    ("--wait", Some("-W")),
    ("--wrap", None),
];

/// A job that is to be submitted.
pub(super) struct Job<'a> {
    /// Its name in the queue.
    pub name: String,
    /// The name of its script and of its logs.
    pub file: &'a str,
    /// Its tasks; none where it is no array.
    pub array: Option<&'a [usize]>,
    /// The groups that have to end before it.
    pub after: Vec<Group>,
}

/// Fails where an option for `sbatch` is one that `submit` gives itself.
///
/// # Errors
/// Bad input that names it.
pub(super) fn check_options(options: &[OsString]) -> Result<()> {
    for option in options {
        let text = option.to_string_lossy();
        let is = |(long, short): &&(&str, Option<&str>)| {
            let long = text.strip_prefix(long).is_some_and(|r| r.is_empty() || r.starts_with('='));
            long || short.is_some_and(|short| text.starts_with(short))
        };
        if let Some((long, _)) = OURS.iter().find(is) {
            let what =
                format!("-- {text}: submit gives sbatch its own {long}, or needs its absence");
            return Err(Error::bad_input(what));
        }
    }
    Ok(())
}

impl Job<'_> {
    /// The arguments of `sbatch`; `after` are the jobs that have to end first. The user's options
    /// stand behind ours, which they may replace, but for what an array is made of.
    pub(super) fn arguments(
        &self,
        options: &[OsString],
        after: &[String],
        script: &Path,
        logs: &Path,
    ) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec!["--parsable".into()];
        all.push(format!("--job-name={}", self.name).into());
        let number = if self.array.is_some() { "%A_%a" } else { "%j" };
        // Slurm writes a percent sign for two.
        let logs = logs.as_os_str().as_encoded_bytes();
        let mut output = b"--output=".to_vec();
        for byte in logs {
            output.extend(if *byte == b'%' { &b"%%"[..] } else { std::slice::from_ref(byte) });
        }
        output.extend(format!("/{}-{number}.log", self.file).bytes());
        all.push(from_bytes(output));
        all.push("--open-mode=append".into());
        if let Some(tasks) = self.array {
            all.extend(["--requeue", "--signal=B:TERM@120"].map(OsString::from));
            all.extend(options.iter().cloned());
            all.push(format!("--array={}", ranges(tasks)).into());
        } else {
            all.extend(options.iter().cloned());
            // What the cells need is too much for a few tables.
            all.extend(
                ["--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--time=30"].map(Into::into),
            );
            if options.iter().any(|option| option.to_string_lossy().starts_with("--gres")) {
                all.push("--gres=none".into());
            }
        }
        if !after.is_empty() {
            all.push(format!("--dependency=afterany:{}", after.join(":")).into());
        }
        all.push(script.as_os_str().to_owned());
        all
    }
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Numbers in order as Slurm writes them: `1-3,7`.
fn ranges(numbers: &[usize]) -> String {
    let mut parts: Vec<[usize; 2]> = Vec::new();
    for &number in numbers {
        match parts.last_mut() {
            Some([_, last]) if *last + 1 == number => *last = number,
            _ => parts.push([number, number]),
        }
    }
    let part = |[first, last]: [usize; 2]| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.into_iter().map(part).collect::<Vec<_>>().join(",")
}

/// Submits a job and returns Slurm's number for it.
///
/// # Errors
/// What went wrong, in words on one line.
pub(super) fn run(arguments: &[OsString]) -> Result<String, String> {
    let output = Command::new("sbatch").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            "found no program sbatch; run submit where Slurm's commands are, or use --dry-run"
                .to_owned()
        }
        _ => format!("sbatch could not be run ({error})"),
    })?;
    let [said, complaint] = [&output.stdout, &output.stderr]
        .map(|bytes| message::escaped(message::one_line(&String::from_utf8_lossy(bytes))));
    if !output.status.success() {
        let words = [complaint, said].into_iter().find(|words| !words.is_empty());
        let words = words.map(|words| format!(": {words}")).unwrap_or_default();
        return Err(format!("sbatch refused it ({}){words}", output.status));
    }
    // `--parsable` puts the cluster's name behind a semicolon where there are several.
    let id = said.split(';').next().unwrap_or_default().trim();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("expected the number of a job from sbatch, got `{said}`"));
    }
    Ok(id.to_owned())
}

/// Runs a command of Slurm's for what it says; none where it is not there or fails.
pub(super) fn ask(command: &str, arguments: &[impl AsRef<OsStr>]) -> Option<String> {
    let mut asked = Command::new(command);
    let output = asked.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_a_range() {
        assert_eq!(ranges(&[1]), "1");
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3,7,9-10");
    }

    #[test]
    fn options_that_submit_gives_itself_are_refused_by_name() {
        let check = |options: &[&str]| {
            let options: Vec<OsString> = options.iter().map(Into::into).collect();
            check_options(&options).err().map(|error| error.to_string())
        };
        assert_eq!(check(&["--time=10", "-p", "gpu", "--gres=gpu:1", "--arrays"]), None);
        for wrong in
            ["--array=1", "-a1-3", "--dependency", "-dafterok:1", "--wrap=ls", "--parsable"]
        {
            let said = check(&["--time=10", wrong]).expect("a refusal");
            assert!(said.starts_with(&format!("-- {wrong}: ")), "{said}");
        }
    }

    fn arguments(job: &Job, options: &[&str], after: &[&str], dir: &str) -> Vec<String> {
        let options: Vec<OsString> = options.iter().map(Into::into).collect();
        let after: Vec<String> = after.iter().map(|id| id.to_string()).collect();
        let all = job.arguments(&options, &after, Path::new("/s/it.sh"), Path::new(dir));
        all.into_iter().map(|argument| argument.into_string().expect("text")).collect()
    }

    #[test]
    fn an_array_is_requeued_warned_and_after_others_whatever_the_user_asks_for() {
        let job = Job { name: "toy-it".into(), file: "it", array: Some(&[1, 2]), after: vec![] };
        assert_eq!(
            arguments(&job, &["--time=10", "--signal=B:TERM@300"], &["4", "5"], "/s 100%/1"),
            [
                "--parsable",
                "--job-name=toy-it",
                "--output=/s 100%%/1/it-%A_%a.log",
                "--open-mode=append",
                "--requeue",
                "--signal=B:TERM@120",
                "--time=10",
                "--signal=B:TERM@300",
                "--array=1-2",
                "--dependency=afterany:4:5",
                "/s/it.sh"
            ]
        );
    }

    #[test]
    fn the_tables_are_a_small_job_whatever_the_cells_need() {
        let job = Job { name: "toy-tables".into(), file: "tables", array: None, after: vec![] };
        let all = arguments(&job, &["--time=9:00:00", "--gres=gpu:1"], &["4"], "/s");
        assert_eq!(
            all[4..],
            [
                "--time=9:00:00",
                "--gres=gpu:1",
                "--nodes=1",
                "--ntasks=1",
                "--cpus-per-task=1",
                "--time=30",
                "--gres=none",
                "--dependency=afterany:4",
                "/s/it.sh"
            ]
        );
    }
}
