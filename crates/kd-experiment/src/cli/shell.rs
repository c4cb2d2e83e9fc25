//! The hidden commands `completions SHELL` and `man DIR`: what a shell and `man` want to know of a
//! program's arguments.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, Command, value_parser};
use clap_complete::Shell;

use super::output::{finish, output_error};
use crate::error::{Error, Result};

const COMPLETIONS: &str = "completions";
const MAN: &str = "man";

/// Where the process's arguments are one of the two commands, obeys it and ends the process.
pub(super) fn answer(command: Command) {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    if !first.is_some_and(|first| first == COMPLETIONS || first == MAN) {
        return;
    }
    let asked = match with_both(command.clone()).try_get_matches() {
        Ok(asked) => asked,
        // The program's own words for what is wrong.
        Err(error) => {
            if !error.use_stderr() {
                error.exit();
            }
            super::output::remark(super::output::usage_error(&error));
            std::process::exit(error.exit_code())
        }
    };
    let done = match asked.subcommand() {
        Some((COMPLETIONS, of)) => match of.get_one::<Shell>("shell") {
            Some(shell) => completions(command, *shell, &mut io::stdout()),
            None => Ok(()),
        },
        Some((_, of)) => match of.get_one::<PathBuf>("dir") {
            Some(dir) => man(command, dir),
            None => Ok(()),
        },
        None => Ok(()),
    };
    std::process::exit(if finish(done) == ExitCode::SUCCESS { 0 } else { 2 });
}

/// The program's command with the two hidden ones.
fn with_both(command: Command) -> Command {
    let shell = Arg::new("shell").required(true).value_parser(value_parser!(Shell));
    let dir = Arg::new("dir").required(true).value_parser(value_parser!(PathBuf));
    command
        .subcommand(Command::new(COMPLETIONS).hide(true).arg(shell))
        .subcommand(Command::new(MAN).hide(true).arg(dir))
}

/// Writes the completions of a program's arguments for a shell.
fn completions(mut command: Command, shell: Shell, out: &mut dyn Write) -> Result<()> {
    let name = command.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut text);
    out.write_all(&text).map_err(output_error)
}

/// Writes a page for the program and for each of its commands to a folder that is there.
fn man(command: Command, dir: &Path) -> Result<()> {
    clap_mangen::generate_to(command, dir).map_err(Error::io("write in", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toy() -> Command {
        Command::new("toy").arg(Arg::new("preset").long("preset")).subcommand(Command::new("run"))
    }

    #[test]
    fn completions_name_commands_and_options_for_each_shell() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut text = Vec::new();
            completions(toy(), shell, &mut text).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("preset") && text.contains("run"), "{shell}: {text}");
            assert!(!text.contains(COMPLETIONS), "{shell}: the hidden command shows");
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        man(toy(), dir.path()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert!(
            names.starts_with(&["toy-run.1".to_owned()]) || names.contains(&"toy.1".to_owned())
        );
        assert!(man(toy(), &dir.path().join("missing")).unwrap_err().is_bad_input());
    }
}
