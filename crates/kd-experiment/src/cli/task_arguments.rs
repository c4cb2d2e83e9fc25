//! The arguments of a task that `submit` hands its work to: those of the program itself.
//!
//! A job runs `PROGRAM run TABLES` with the options that `submit` was given, each program's own
//! among them. Only the parser of all arguments knows what they are, so it hands them to `submit`
//! in a hidden option: the arguments are parsed twice.

use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// The name of the command that wants them.
pub(super) const SUBMIT: &str = "submit";
/// Its hidden option.
pub(super) const OPTION: &str = "task-argument";
/// Options that `submit` sets for each task itself.
const OWN: [&str; 1] = ["shard"];

/// Parses arguments, the program's name first; those of `submit` are given the options before and
/// behind it as values of `--task-argument`.
///
/// # Errors
/// Those of clap.
pub(super) fn matches(
    mut command: Command,
    mut arguments: Vec<OsString>,
) -> Result<ArgMatches, clap::Error> {
    let matches = command.try_get_matches_from_mut(&arguments)?;
    if matches.subcommand_name() != Some(SUBMIT) {
        return Ok(matches);
    }
    // What is behind `--` is Slurm's.
    let end = arguments.iter().position(|argument| argument == "--").unwrap_or(arguments.len());
    let again = given(&command, &matches).into_iter().map(|argument| {
        let mut option = OsString::from(format!("--{OPTION}="));
        option.push(argument);
        option
    });
    arguments.splice(end..end, again);
    command.try_get_matches_from_mut(arguments)
}

/// The program's options as they were given, each as `--option=value` or `--flag`.
fn given(command: &Command, matches: &ArgMatches) -> Vec<OsString> {
    let mut all = Vec::new();
    for argument in command.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(long) = argument.get_long() else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) || OWN.contains(&long) {
            continue;
        }
        if !argument.get_action().takes_values() {
            all.push(format!("--{long}").into());
            continue;
        }
        for value in matches.get_raw(id).into_iter().flatten() {
            let mut option = OsString::from(format!("--{long}="));
            option.push(value);
            all.push(option);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction};

    fn toy() -> Command {
        let many = Arg::new("digits").long("omit").global(true).value_delimiter(',');
        Command::new("toy")
            .arg(Arg::new("preset").long("preset").global(true).default_value("quick"))
            .arg(Arg::new("shard").long("shard").global(true))
            .arg(Arg::new("fast").long("fast").global(true).action(ArgAction::SetTrue))
            .arg(many.action(ArgAction::Append))
            .subcommand(Command::new("run").arg(Arg::new("tables").num_args(0..)))
            .subcommand(
                Command::new(SUBMIT)
                    .arg(Arg::new("tables").num_args(0..))
                    .arg(Arg::new("shards").long("shards"))
                    .arg(Arg::new(OPTION).long(OPTION).hide(true).action(ArgAction::Append))
                    .arg(Arg::new("sbatch").num_args(0..).last(true)),
            )
    }

    fn handed(arguments: &[&str]) -> Vec<String> {
        let all = std::iter::once("toy").chain(arguments.iter().copied()).map(OsString::from);
        let matches = matches(toy(), all.collect()).unwrap();
        let (name, submit) = matches.subcommand().unwrap();
        assert_eq!(name, SUBMIT);
        submit.get_many::<String>(OPTION).into_iter().flatten().cloned().collect()
    }

    #[test]
    fn a_task_has_the_options_before_and_behind_submit_and_not_those_of_submit() {
        assert_eq!(handed(&["submit"]), Vec::<String>::new());
        assert_eq!(
            handed(&["--preset", "paper", "submit", "a", "--shards", "2", "--omit=1,2", "--fast"]),
            ["--preset=paper", "--fast", "--omit=1", "--omit=2"]
        );
    }

    #[test]
    fn values_that_look_like_something_else_stay_values() {
        assert_eq!(
            handed(&["--preset", "submit", "submit", "--omit=a=b c\n'd", "--", "--preset=x"]),
            ["--preset=submit", "--omit=a=b c\n'd"]
        );
    }

    #[test]
    fn other_commands_are_parsed_as_they_are() {
        let all = ["toy", "run", "submit", "--preset=paper"].map(OsString::from).to_vec();
        let matches = matches(toy(), all).unwrap();
        assert_eq!(matches.subcommand_name(), Some("run"));
    }
}
