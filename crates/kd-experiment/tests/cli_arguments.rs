//! The command line that every binary shares.

use clap::CommandFactory;

mod toy;

#[test]
fn the_help_names_every_command_and_option() {
    let mut command = toy::Arguments::command().term_width(110);
    insta::assert_snapshot!("help", command.render_long_help().to_string());
}

#[test]
fn options_stand_before_and_after_the_command() {
    let before = toy::parse(&["--preset", "laptop", "--seeds", "1..3", "run", "nets"]).unwrap();
    let after = toy::parse(&["run", "nets", "--preset", "laptop", "--seeds", "1,2,3"]).unwrap();
    assert_eq!(before.options.preset, after.options.preset);
    assert_eq!(before.options.seeds, after.options.seeds);
    assert!(toy::parse(&[]).unwrap().command.is_none());
}

#[test]
fn malformed_options_are_refused_with_what_was_expected() {
    for (arguments, part) in [
        (["--preset", "quik"], "did you mean `quick`?"),
        (["--seeds", "a"], "expected 1,2,3 or 1..3"),
        (["--shard", "3/2"], "expected I/N with 1 <= I <= N"),
        (["--device", "gpu"], "expected auto, cpu, cuda, cuda:N or metal"),
        (["--data", "mnits"], "[possible values: auto, mnist, embedded]"),
        (["--threads", "0"], "expected a whole number from 1 to 1024, got `0`"),
        (["--threads", "100000"], "expected a whole number from 1 to 1024, got `100000`"),
    ] {
        let message = toy::parse(&arguments).err().unwrap_or_default();
        assert!(message.contains(part), "{arguments:?}: {message}");
    }
}
