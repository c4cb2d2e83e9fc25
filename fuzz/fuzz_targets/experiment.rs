//! Experiment files: read, and expanded to cells.

#![no_main]

use kd_experiment::experiment_file::parse;
use kd_experiment::{DataIdentity, ExpandRequest, Preset, expand};
use libfuzzer_sys::fuzz_target;

const SMALL: &str = r#"
title = "T"
source = "S"
claim = "C"
metrics = [{ name = "test-errors", unit = "errors" }]
deviations = ["D1 what"]
gap-fills = ["G1 what"]
presets = { quick = { seeds = [1] }, laptop = { seeds = "1..3" }, paper = { seeds = [1, 2] } }
[[row]]
name = "teacher"
kind = "train"
spec = { epochs = 20, optimizer = { kind = "sgd", rate = 0.1 } }
quick = { epochs = 2 }
[[row]]
name = "student"
like = "teacher"
needs = { teacher = "teacher", all = "teacher#1..3" }
presets = ["quick", "paper"]
seeds = { quick = [1], laptop = [2], paper = "1..2" }
spec = { temperature = 4.0 }
report = { "before" = { "test-errors" = "before.test-errors" } }
[[row.grid]]
column = "temperature"
path = "temperature"
values = { quick = [1], laptop = [1, 2], paper = [1, 2.5] }
"#;

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let each = "[each]\npairs = [{ a = 'x', b = 1 }, { a = 'y', b = 2 }]\n[[row]]\nname = '{a}-r'\n\
                each = 'pairs'\nwhere = { b = 1 }\nlike = 'teacher'\nspec = { epochs = '{b}' }\n";
    vec![
        ("each", format!("{SMALL}{each}").into_bytes()),
        ("small", SMALL.as_bytes().to_vec()),
        ("temperature", include_bytes!("../../experiments/hinton-mnist/temperature.toml").to_vec()),
    ]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match parse("input.toml", "input", text) {
        Ok(experiment) => {
            let data = DataIdentity {
                dataset: "d".into(),
                fingerprint: "f".into(),
                note: None,
                comparable: false,
            };
            for preset in Preset::ALL {
                let _ = expand(&ExpandRequest {
                    paper: "paper",
                    experiments: std::slice::from_ref(&experiment),
                    selected: &[],
                    preset,
                    data: &data,
                    seeds: None,
                });
            }
        }
        Err(error) => assert!(!error.to_string().contains('\n'), "more than a line: {error}"),
    }
}));
