//! Experiment files and what they expand to.

use std::fmt::Write;

use kd_experiment::{
    ExpandRequest, Experiment, Plan, Preset, Result, Seeds, Shard, cell, check, expand,
    experiment_file,
};

mod toy;

fn experiments() -> Vec<Experiment> {
    toy::EXPERIMENTS
        .iter()
        .map(|(name, text)| experiment_file::parse(&format!("{name}.toml"), name, text).unwrap())
        .collect()
}

fn plan_of(
    experiments: &[Experiment],
    selected: &[&str],
    preset: Preset,
    seeds: Option<&str>,
) -> Result<Plan> {
    let selected: Vec<String> = selected.iter().map(|name| name.to_string()).collect();
    let seeds: Option<Seeds> = seeds.map(|text| text.parse().unwrap());
    let data = toy::identity();
    expand(&ExpandRequest {
        paper: "toy",
        experiments,
        selected: &selected,
        preset,
        data: &data,
        seeds: seeds.as_ref(),
    })
}

fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for cell in &plan.cells {
        writeln!(text, "{} {}", cell.label(), cell.kind).unwrap();
        writeln!(text, "    {}", cell.spec.to_string().trim().replace('\n', ", ")).unwrap();
        for (role, ids) in &cell.needs {
            let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
            writeln!(text, "    {role}: {}", ids.join(" ")).unwrap();
        }
    }
    for table in &plan.tables {
        writeln!(text, "table {} [{}]", table.name, table.columns.join(",")).unwrap();
        for line in &table.lines {
            let ids: Vec<&str> = line.cells.iter().map(|id| id.as_str()).collect();
            writeln!(
                text,
                "    {} {:?} {} <- {}: {}",
                line.row,
                line.keys,
                line.metric.name,
                line.key,
                ids.join(" ")
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn rows_grids_seeds_and_needs_expand_to_cells_in_order() {
    insta::assert_snapshot!(
        "quick",
        show(&plan_of(&experiments(), &[], Preset::Quick, None).unwrap())
    );
    insta::assert_snapshot!(
        "shift-at-paper",
        show(&plan_of(&experiments(), &["shift"], Preset::Paper, None).unwrap())
    );
}

#[test]
fn tables_share_cells_and_every_cell_comes_after_what_it_needs() {
    let plan = plan_of(&experiments(), &[], Preset::Paper, None).unwrap();
    for (index, cell) in plan.cells.iter().enumerate() {
        assert!(
            !plan.cells[..index].iter().any(|other| other.id == cell.id),
            "{} stands twice",
            cell.label()
        );
        for id in cell.needs.values().flatten() {
            assert!(
                plan.cells[..index].iter().any(|other| other.id == *id),
                "{} comes before what it needs",
                cell.label()
            );
        }
    }
}

#[test]
fn given_seeds_replace_those_of_the_preset_but_not_those_of_a_row() {
    let plan = plan_of(&experiments(), &[], Preset::Quick, Some("5")).unwrap();
    let seeds = |table: usize, row: &str| -> Vec<u64> {
        let line = plan.tables[table].lines.iter().find(|line| line.row == row).unwrap();
        line.cells.iter().map(|id| plan.cell(id).unwrap().seed).collect()
    };
    assert_eq!(seeds(0, "teacher"), [5]);
    assert_eq!(seeds(1, "before-shift"), [7]);
}

#[test]
fn a_preset_is_no_part_of_a_name_and_the_data_is() {
    let experiments = experiments();
    // shift/same-teacher states the epochs that nets/teacher has at quick.
    let id = |preset| {
        let plan = plan_of(&experiments, &["shift"], preset, None).unwrap();
        plan.cells.iter().find(|cell| cell.row == "same-teacher").unwrap().id.clone()
    };
    assert_eq!(id(Preset::Quick), id(Preset::Paper));
    let mut other = toy::identity();
    other.fingerprint = "4567".into();
    let request = ExpandRequest {
        paper: "toy",
        experiments: &experiments,
        selected: &[],
        preset: Preset::Quick,
        data: &other,
        seeds: None,
    };
    let plan = expand(&request).unwrap();
    assert!(plan.cells.iter().all(|cell| cell.id != id(Preset::Quick)));
}

#[test]
fn shards_cover_the_plan_and_bring_what_they_need() {
    let plan = plan_of(&experiments(), &[], Preset::Paper, None).unwrap();
    for count in [1, 2, 3, 50] {
        let mut covered = vec![false; plan.cells.len()];
        for index in 1..=count {
            let shard: Shard = format!("{index}/{count}").parse().unwrap();
            let cells = plan.shard(shard);
            for (place, cell) in cells.iter().enumerate() {
                covered[*cell] = true;
                for id in plan.cells[*cell].needs.values().flatten() {
                    assert!(cells[..place].iter().any(|other| plan.cells[*other].id == *id));
                }
            }
        }
        assert!(covered.into_iter().all(|covered| covered), "{count} shards");
    }
    assert_eq!(plan.shard(Shard::ALL).len(), plan.cells.len());
}

#[test]
fn a_changed_format_version_would_orphan_every_result() {
    assert_eq!(cell::FORMAT, 1);
}

/// The message of parsing and expanding the toy experiments with one text replaced in `nets.toml`.
fn message(from: &str, to: &str) -> String {
    let (name, text) = toy::EXPERIMENTS[0];
    assert!(text.contains(from), "{from}");
    let changed = text.replacen(from, to, 1);
    let parsed = experiment_file::parse("nets.toml", name, &changed);
    let error = match parsed {
        Ok(nets) => plan_of(&[nets], &[], Preset::Quick, None).unwrap_err(),
        Err(error) => error,
    };
    assert!(error.is_bad_input());
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn mistakes_in_an_experiment_file_are_named_with_file_and_key() {
    let messages = [
        message("claim =", "clam ="),
        message("source =", "sourced = 1\nsource ="),
        message("title = \"Toy nets\"", "title = 3"),
        message("title = \"Toy nets\"", "title = "),
        message("kind = \"train\"", "kin = \"train\""),
        message("needs = {", "need = {"),
        message("\"D1 nothing", "\"nothing"),
        message("seeds = [1, 2]", "sedes = [1, 2]"),
        message("seeds = [1, 2]", "seeds = [1, 1]"),
        message("seeds = [1, 2]", "seeds = []"),
        message("[presets.laptop]", "[presets.laptob]"),
        message("[row.quick]\nepochs = 4", "[row.quick]\nepoch = 4"),
        message("path = \"temperature\"", "path = \"temprature\""),
        message("column = \"temperature\"", "column = \"mean\""),
        message("quick = [1, 4], ", ""),
        message("metrics = [\"test-errors\"]", "metrics = [\"test-error\"]"),
        message("name = \"student\"", "name = \"Student Net\""),
        message("name = \"student\"", "name = \"teacher\""),
        message("teacher = \"teacher\"", "teacher = \"techer\""),
        message("teacher = \"teacher\"", "teacher = \"net/teacher\""),
        message("teacher = \"teacher\"", "teacher = \"teacher#x\""),
        message("teacher = \"teacher\"", "teacher = \"student\""),
        message(
            "rate = 0.1\n",
            "rate = 0.1\n[[row.grid]]\ncolumn = \"rate\"\npath = \"rate\"\nvalues = [1, 2]\n[row.laptop]\n",
        ),
    ];
    insta::assert_snapshot!("mistakes", messages.join("\n"));
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_was_expected_and_what_was_found() {
    for (from, to, expected) in [
        (
            "[presets.quick]\n",
            "[presets]\nquick = 3\n[other]\n",
            "presets.quick: expected a table, got",
        ),
        ("seeds = [1, 2]", "seeds = 3", "presets.quick.seeds: expected a list of seeds or a range"),
        ("metrics = [{", "metrics = [3, {", "metrics[0]: expected a table, got integer `3`"),
        ("unit = \"errors\"", "units = 1", "unknown key `metrics[0].units`; did you mean `unit`?"),
        ("kind = \"train\"", "kind = [1]", "row[teacher].kind: expected a string, got array"),
        (
            "needs = { teacher = \"teacher\" }",
            "needs = 3",
            "row[student].needs: expected a table, got",
        ),
        ("teacher = \"teacher\"", "teacher = 3", "needs.teacher: expected \"table/row\", \"row\""),
        (
            "values = {",
            "valeus = {",
            "unknown key `row[student].grid[0].valeus`; did you mean `values`?",
        ),
        (
            "quick = [1, 4], ",
            "quik = [1, 4], ",
            "unknown key `row[student].grid[0].values.quik`; did",
        ),
        ("quick = [1, 4], ", "quick = 4, ", "grid[0].values: expected an array, got integer `4`"),
    ] {
        let said = message(from, to);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_table_that_asks_for_a_number_which_its_cells_do_not_have_is_refused_before_they_run() {
    let said = |table: usize, from: &str, to: &str| {
        let mut all = experiments();
        let (name, text) = toy::EXPERIMENTS[table];
        assert!(text.contains(from), "{from}");
        all[table] =
            experiment_file::parse(&format!("{name}.toml"), name, &text.replace(from, to)).unwrap();
        let plan = plan_of(&all, &[], Preset::Quick, None).unwrap();
        check(&toy::Toy::default(), &plan, &plan.cells).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(said(0, "loss", "loss"), Ok(()));
    let cases = [
        (
            0,
            "name = \"loss\"",
            "name = \"los\"",
            "nets.toml: row teacher: the result of nets/teacher seed 1 ",
            "`los`; did you mean `loss`?",
        ),
        (
            1,
            "\"after.test-errors\"",
            "\"after.test-error\"",
            "shift.toml: row after-shift: the result of shift/several seed 7 ",
            "`after.test-error`; did you mean `after.test-errors`?",
        ),
    ];
    for (table, from, to, start, end) in cases {
        let error = said(table, from, to).unwrap_err();
        assert!(
            error.starts_with(start) && error.ends_with(&format!(" has no metric {end}")),
            "{error}"
        );
    }
}

#[test]
fn needs_that_form_a_cycle_are_refused() {
    let (name, text) = toy::EXPERIMENTS[0];
    let text =
        text.replacen("kind = \"train\"", "kind = \"train\"\nneeds = { friend = \"student\" }", 1);
    let text = text.replace("quick = [1, 4]", "quick = [1]");
    let error = plan_of(
        &[experiment_file::parse("nets.toml", name, &text).unwrap()],
        &[],
        Preset::Quick,
        None,
    )
    .unwrap_err();
    let expected = "nets.toml: needs form a cycle: nets/teacher seed 1 -> nets/student [temperature=1] seed 1 -> nets/teacher seed 1";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_table_that_does_not_exist_is_named_with_the_nearest() {
    let error = plan_of(&experiments(), &["net"], Preset::Quick, None).unwrap_err();
    assert_eq!(error.to_string(), "no table `net`; did you mean `nets`?");
    let error = plan_of(&experiments(), &["distillation"], Preset::Quick, None).unwrap_err();
    assert_eq!(error.to_string(), "no table `distillation`; known: nets, shift");
}

#[test]
fn a_row_of_some_presets_is_in_the_table_at_those_alone_and_its_published_numbers_wait_for_them() {
    let (name, text) = toy::EXPERIMENTS[0];
    let text =
        text.replace("name = \"student\"", "name = \"student\"\npresets = [\"laptop\", \"paper\"]");
    let experiments = [experiment_file::parse("nets.toml", name, &text).unwrap()];
    let rows = |preset| -> Vec<String> {
        let plan = plan_of(&experiments, &[], preset, None).unwrap();
        kd_experiment::References::parse("reference.csv", toy::REFERENCE)
            .unwrap()
            .check(&plan.tables[0])
            .unwrap();
        plan.tables[0].lines.iter().map(|line| line.row.clone()).collect()
    };
    assert!(!rows(Preset::Quick).contains(&"student".to_owned()));
    assert!(
        rows(Preset::Laptop).contains(&"student".to_owned())
            && rows(Preset::Paper).contains(&"student".to_owned())
    );
    let wrong = text.replace("presets = [\"laptop\"", "presets = [\"labtop\"");
    let error = experiment_file::parse("nets.toml", name, &wrong).unwrap_err().to_string();
    assert!(error.contains("presets") && error.contains("did you mean `laptop`?"), "{error}");
    assert!(
        experiment_file::parse("nets.toml", name, &text.replace("[\"laptop\", \"paper\"]", "[]"))
            .is_err()
    );
}
