//! `submit` with a Slurm of nobody's: an `sbatch` that runs the tasks of a job at once, one after
//! the other, and a `squeue` and a `scontrol` that queue a task again. `scripts/check-slurm.sh` does
//! the same with the real ones.
//!
//! This test has no harness: the program of the jobs is this one, told by its arguments.

mod toy;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use kd_experiment::cli;
use toy::{Toy, files};

const TESTS: [(&str, fn()); 9] = [
    ("jobs_come_to_the_tables_of_one_process", jobs_come_to_the_tables_of_one_process),
    ("students_depend_on_the_arrays_of_their_teachers", students_depend_on_the_arrays),
    ("a_failed_teacher_fails_its_own_students_and_is_tried_once", a_failed_teacher),
    ("a_task_that_is_asked_to_stop_is_queued_again_and_goes_on", a_task_that_is_asked_to_stop),
    ("a_task_that_was_cancelled_is_not_queued_again", a_task_that_was_cancelled),
    ("what_is_finished_is_not_submitted", what_is_finished_is_not_submitted),
    ("a_dry_run_prints_the_scripts_and_needs_no_slurm", a_dry_run),
    ("strange_names_of_folders_and_options_reach_the_tasks", strange_names),
    ("an_sbatch_that_is_missing_fails_or_says_nothing_is_named", a_useless_sbatch),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let commands = ["run", "table", "status", "submit"];
    if arguments.iter().any(|argument| commands.contains(&argument.as_str())) {
        return program();
    }
    // What `cargo test` passes on: names, and options of a harness that is not here.
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let mut failed = Vec::new();
    for (name, test) in TESTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
            println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
            failed.extend((!passed).then_some(name));
        }
    }
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The toy's program.
fn program() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let number = |name: &str| variable(name).and_then(|text| text.parse().ok());
    kd_base::stop::on_signals().expect("signals");
    let toy = Toy {
        log: variable("KD_TOY_LOG").map(PathBuf::from),
        epoch: Duration::from_millis(number("KD_TOY_EPOCH").unwrap_or(0)),
        fail_on: number("KD_TOY_FAIL_ON"),
        ..Toy::default()
    };
    let arguments: toy::Arguments = cli::parse(&["auto", "mnist", "embedded"]);
    let progress = cli::progress();
    cli::finish(toy::execute(&toy, &arguments, &*progress, &mut std::io::stdout()))
}

const SBATCH: &str = r#"#!/usr/bin/env bash
job=$(( $(cat "$FAKE/last" 2>/dev/null || echo 100) + 1 ))
echo "$job" > "$FAKE/last"
printf '%s\n' "$@" > "$FAKE/$job.arguments"
array=
for argument in "$@"; do
    case $argument in
    --array=*) array=${argument#--array=} ;;
    --output=*) output=${argument#--output=} ;;
    esac
    script=$argument
done
run() {
    log=${output//%A_%a/${job}_$1}; log=${log//%j/$job}; log=${log//%%/%}
    restarts=0
    while :; do
        rm -f "$FAKE/again"
        touch "$KD_TOY_LOG"
        before=$(cat "$KD_TOY_LOG" | wc -l)
        SLURM_RESTART_COUNT=$restarts SLURM_ARRAY_JOB_ID=$job SLURM_ARRAY_TASK_ID=$1 bash "$script" >>"$log" 2>&1 &
        shell=$!
        if [ -n "$FAKE_TERM" ] && [ "$restarts" = 0 ] && [ -n "$1" ]; then
            # Once the first cell is at work.
            (until [ "$(cat "$KD_TOY_LOG" | wc -l)" -gt "$before" ]; do sleep 0.05; done; kill -TERM "$shell") >/dev/null 2>&1 &
            waiter=$!
        fi
        wait "$shell"
        echo "$job $1 $?" >> "$FAKE/codes"
        [ -z "$waiter" ] || kill "$waiter" 2>/dev/null
        waiter=
        [ -e "$FAKE/again" ] || break
        restarts=$((restarts + 1))
    done
}
for range in ${array//,/ }; do
    for task in $(seq "${range%-*}" "${range#*-}"); do run "$task"; done
done
[ -n "$array" ] || run ""
echo "$job;cluster"
"#;
const SQUEUE: &str = "#!/usr/bin/env bash\necho \"${FAKE_STATE:-RUNNING}\"\n";
const SCONTROL: &str =
    "#!/usr/bin/env bash\necho \"$*\" >> \"$FAKE/requeued\"\ntouch \"$FAKE/again\"\n";

/// A folder to submit from, and a Slurm.
struct Place {
    _dir: tempfile::TempDir,
    root: PathBuf,
    bin: PathBuf,
    fake: PathBuf,
}

impl Place {
    fn new() -> Self {
        Self::called("here")
    }

    /// With this name of the folder to submit from.
    fn called(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [root, bin, fake] = [name, "bin", "fake"].map(|part| dir.path().join(part));
        for folder in [&root, &bin, &fake] {
            fs::create_dir(folder).unwrap();
        }
        let place = Self { _dir: dir, root, bin, fake };
        for (name, text) in [("sbatch", SBATCH), ("squeue", SQUEUE), ("scontrol", SCONTROL)] {
            place.put(name, text);
        }
        place
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.bin.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn call(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .current_dir(&self.root)
            .env("PATH", path)
            .env("FAKE", &self.fake)
            .env("KD_TOY_LOG", self.fake.join("entered"))
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// What a call that succeeds prints.
    fn said(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.call(arguments, variables);
        let [out, error] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
        assert!(output.status.success(), "{out}{error}");
        out.into_owned()
    }

    fn fake(&self, name: &str) -> String {
        fs::read_to_string(self.fake.join(name)).unwrap_or_default()
    }

    /// The arguments of the job's `sbatch`.
    fn arguments(&self, job: u32) -> Vec<String> {
        self.fake(&format!("{job}.arguments")).lines().map(str::to_owned).collect()
    }

    fn entered(&self) -> usize {
        self.fake("entered").lines().count()
    }
}

/// The tables of one process that nothing disturbs.
fn undisturbed() -> Vec<(PathBuf, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let [runs, out] = ["runs", "results"].map(|part| dir.path().join(part));
    let arguments = ["--runs-dir", runs.to_str().unwrap(), "--out", out.to_str().unwrap()];
    toy::main(&Toy::default(), &arguments).unwrap();
    files(&out)
}

fn jobs_come_to_the_tables_of_one_process() {
    let place = Place::new();
    let said = place.said(&["submit", "--slurm", "--shards", "2"], &[]);
    assert!(
        said.starts_with("job 101: needed-0: 3 cells in 2 tasks, about 12s of work, 8s "),
        "{said}"
    );
    assert!(said.contains("\njob 102: last-1: 5 cells in 2 tasks, about "), "{said}");
    assert!(said.contains("\njob 103: tables: "), "{said}");
    assert!(said.contains("\n8 cells in 4 tasks, about 24s of work, "), "{said}");
    assert_eq!(files(&place.root.join("results")), undisturbed());
    assert_eq!(place.entered(), 8, "a cell was run twice");
    assert_eq!(place.fake("codes"), "101 1 0\n101 2 0\n102 1 0\n102 2 0\n103  0\n");
    let status = fs::read_to_string(place.root.join("runs/slurm/toy/1/tables-103.log")).unwrap();
    assert!(status.ends_with("8 cells: 8 done; preset quick\n"), "{status}");
}

fn students_depend_on_the_arrays() {
    let place = Place::new();
    place.said(&["submit", "nets", "--slurm", "--", "--time=10", "-p", "gpu"], &[]);
    let has = |job, argument: &str| place.arguments(job).iter().any(|other| other == argument);
    assert!(has(101, "--array=1-2") && has(102, "--array=1-4"), "one task for each cell");
    assert!(has(101, "--job-name=toy-needed-0") && has(102, "--job-name=toy-last-1"));
    assert!(!place.arguments(101).iter().any(|argument| argument.starts_with("--dependency")));
    assert!(has(102, "--dependency=afterany:101") && has(103, "--dependency=afterany:101:102"));
    for job in [101, 102] {
        assert!(["--requeue", "--time=10", "-p", "gpu"].iter().all(|option| has(job, option)));
    }
    let script = fs::read_to_string(place.root.join("runs/slurm/toy/1/last-1.sh")).unwrap();
    let run = " run nets --group=last-1 --shard=\"${SLURM_ARRAY_TASK_ID:?}/4\" --expect-data=mnist:0123 &\n";
    assert!(script.contains(run), "{script}");
}

fn a_failed_teacher() {
    let place = Place::new();
    place.said(&["submit", "nets", "--slurm"], &[("KD_TOY_FAIL_ON", "2")]);
    // Teachers of seeds 1 and 2; students of temperatures 1 and 4, each with seeds 1 and 2.
    assert_eq!(
        place.fake("codes"),
        "101 1 0\n101 2 1\n102 1 0\n102 2 1\n102 3 0\n102 4 1\n103  0\n"
    );
    assert_eq!(place.entered(), 4, "the teacher that failed was tried again");
    let logs = place.root.join("runs/slurm/toy/1");
    let student = fs::read_to_string(logs.join("last-1-102_2.log")).unwrap();
    assert!(
        student.contains("it needs nets/teacher seed 2 (")
            && student.contains("), which failed: train: term"),
        "{student}"
    );
    let status = place.said(&["status", "nets"], &[("FAKE_STATE", "102 PENDING Dependency")]);
    let teacher = logs.join("needed-0-101_2.log").display().to_string();
    assert!(status.contains(&format!("is not finite at step 3; see {teacher}\n")), "{status}");
    assert!(status.ends_with("\njob 102 (last-1): 1 pending (Dependency)\n"), "{status}");
    // Mended, the same command does what is left.
    let said = place.said(&["submit", "nets", "--slurm"], &[]);
    assert!(said.starts_with("job 104: needed-0: 1 cell in 1 task, about 1s of work"), "{said}");
    let nets = |all: Vec<(PathBuf, Vec<u8>)>| {
        all.into_iter().find(|(path, _)| path.ends_with("nets.csv")).unwrap()
    };
    assert_eq!(nets(files(&place.root.join("results"))), nets(undisturbed()));
}

fn a_task_that_is_asked_to_stop() {
    let place = Place::new();
    let slow = [("KD_TOY_EPOCH", "700"), ("FAKE_TERM", "yes")];
    place.said(&["submit", "nets", "--slurm", "--shards", "1", "--seeds", "1"], &slow);
    // 4 epochs of the teacher, 6 of the students.
    assert_eq!(place.fake("requeued"), "requeue 101_1\nrequeue 102_1\n");
    assert_eq!(place.fake("codes"), "101 1 130\n101 1 0\n102 1 130\n102 1 0\n103  0\n");
    let log = place.root.join("runs/slurm/toy/1/needed-0-101_1.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("stopped, 1 cell left; the same command goes on from here"), "{log}");
    assert!(log.contains("101_1: queued again, to go on from its state"), "{log}");
    let other = Place::new();
    other.said(&["run", "nets", "--seeds", "1"], &[]);
    assert_eq!(files(&place.root.join("results")), files(&other.root.join("results")));
}

fn a_task_that_was_cancelled() {
    let place = Place::new();
    let cancelled = [("KD_TOY_EPOCH", "700"), ("FAKE_TERM", "yes"), ("FAKE_STATE", "COMPLETING")];
    place.said(&["submit", "nets", "--slurm", "--shards", "1", "--seeds", "1"], &cancelled);
    assert_eq!(place.fake("requeued"), "");
    assert!(place.fake("codes").starts_with("101 1 130\n102 1 1\n"), "{}", place.fake("codes"));
}

fn what_is_finished_is_not_submitted() {
    let place = Place::new();
    place.said(&["run", "nets", "--seeds", "1"], &[]);
    let said = place.said(&["submit", "nets", "--slurm"], &[]);
    // A finished cell of a row tells what another seed of it costs.
    assert!(said.starts_with("job 101: needed-0: 1 cell in 1 task, about 1s of work"), "{said}");
    let has = |job, argument: &str| place.arguments(job).iter().any(|other| other == argument);
    assert!(has(101, "--array=2") && has(102, "--array=2,4"), "{:?}", place.arguments(102));
    let said = place.said(&["submit", "nets", "--slurm"], &[]);
    assert_eq!(said, "6 cells, all finished; `toy table` derives the tables\n");
}

fn a_dry_run() {
    let place = Place::new();
    fs::remove_file(place.bin.join("sbatch")).unwrap();
    let said =
        place.said(&["submit", "nets", "--slurm", "--dry-run", "--", "--comment=two words"], &[]);
    assert_eq!(said.matches("#!/usr/bin/env bash\n").count(), 3, "{said}");
    assert!(said.contains("# sbatch --parsable --job-name=toy-needed-0 "), "{said}");
    assert!(
        said.contains(" '--comment=two words' --array=1-4 '--dependency=afterany:<needed-0>' "),
        "{said}"
    );
    assert!(said.ends_with("6 cells in 6 tasks, about 20s of work, 7s with a machine for each task; preset quick; nothing was submitted\n"), "{said}");
    assert_eq!(fs::read_dir(&place.root).unwrap().count(), 0, "something was written");
}

fn strange_names() {
    let place = Place::called("it's \"here\" $HOME 100%\nand there");
    let runs = "the runs' `store` & more\n2";
    let arguments =
        ["--runs-dir", runs, "submit", "nets", "--slurm", "--seeds", "1,2", "--out=my results"];
    place.said(&arguments, &[]);
    let nets = |root: &Path| fs::read(root.join("toy/mnist-quick/nets.csv")).unwrap();
    let other = Place::new();
    other.said(&["run", "nets"], &[]);
    assert_eq!(nets(&place.root.join("my results")), nets(&other.root.join("results")));
    let logs = place.root.join(runs).join("slurm/toy/1");
    assert!(logs.join("needed-0-101_1.log").is_file(), "{logs:?}");
}

fn a_useless_sbatch() {
    let place = Place::new();
    let refused = |place: &Place, arguments: &[&str]| {
        let output = place.call(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        said
    };
    let submit = ["submit", "nets", "--slurm"];
    place.put("sbatch", "#!/usr/bin/env bash\necho 'sbatch: error: invalid partition\nspecified: gpu' >&2\nexit 1\n");
    assert_eq!(
        refused(&place, &submit),
        "error: needed-0: sbatch refused it (exit status: 1): sbatch: error: invalid partition; specified: gpu\n"
    );
    place.put("sbatch", "#!/usr/bin/env bash\necho Submitted batch job 12\n");
    assert_eq!(
        refused(&place, &submit),
        "error: needed-0: expected the number of a job from sbatch, got `Submitted batch job 12`\n"
    );
    place.put(
        "sbatch",
        "#!/usr/bin/env bash\n[ -e \"$FAKE/one\" ] && exit 3\ntouch \"$FAKE/one\"; echo 55\n",
    );
    assert_eq!(
        refused(&place, &submit),
        "error: last-1: sbatch refused it (exit status: 3); `scancel 55` takes back what was submitted\n"
    );
    place.put("sbatch", "#!/no/such/interpreter\n");
    assert!(refused(&place, &submit).contains("sbatch"), "no interpreter");
    for (arguments, part) in [
        (&["submit", "nets"][..], "required arguments were not provided: --slurm"),
        (&["submit", "nets", "--slurm", "--shard", "1/2"], "give --shards N"),
        (&["submit", "nets", "--slurm", "--shards", "0"], "--shards"),
        (&["submit", "nets", "--slurm", "--", "--array=1"], "submit gives sbatch its own --array"),
        (&["submit", "nets", "--slurm", "--runs-dir", "a\\b"], "a path without a backslash"),
        (&["submit", "nest", "--slurm"], "did you mean `nets`?"),
    ] {
        let said = refused(&place, arguments);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
