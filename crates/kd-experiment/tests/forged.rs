//! Experiment files of a few lines that ask for more than any table has: an error within a moment,
//! whatever the machine's memory.

use kd_experiment::{
    DataIdentity, ExpandRequest, Experiment, Preset, Result, expand, experiment_file,
};

const HEAD: &str = r#"
title = "T"
source = "S"
claim = "C"
metrics = [{ name = "m", unit = "u" }]
presets = { quick = { seeds = [1] }, laptop = { seeds = [1] }, paper = { seeds = [1] } }
"#;

fn parsed(rows: &str) -> Result<Experiment> {
    experiment_file::parse("table.toml", "table", &format!("{HEAD}{rows}"))
}

/// The names of the cells at the quick preset, or the error.
fn cells(rows: &str) -> Result<Vec<String>> {
    let experiment = parsed(rows)?;
    let data =
        DataIdentity { dataset: "d".into(), fingerprint: "f".into(), note: None, comparable: true };
    let plan = expand(&ExpandRequest {
        paper: "paper",
        experiments: &[experiment],
        selected: &[],
        preset: Preset::Quick,
        data: &data,
        seeds: None,
    })?;
    Ok(plan.cells.iter().map(|cell| cell.short_label()).collect())
}

fn refusal(rows: &str) -> String {
    let error = cells(rows).expect_err("a refusal");
    assert!(error.is_bad_input());
    error.to_string()
}

#[test]
fn grids_whose_product_is_beyond_all_memory_are_refused() {
    let mut rows = "[[row]]\nname = 'a'\nkind = 'k'\nspec = { x = 1 }\n".to_string();
    for i in 0..12 {
        let values = "1, ".repeat(50);
        rows += &format!("[[row.grid]]\ncolumn = 'c{i}'\npath = 'x'\nvalues = [{values}]\n");
    }
    assert_eq!(
        refusal(&rows),
        "table.toml: row[a].grid: expected at most 10000 points, got 18446744073709551615"
    );
}

/// Rows of which each needs two cells of the one before.
fn chain(rows: usize) -> String {
    let row = |i: usize| {
        let needs = match i {
            0 => String::new(),
            _ => format!("needs = {{ a = 'r{p}#1', b = 'r{p}#2' }}\n", p = i - 1),
        };
        format!("[[row]]\nname = 'r{i}'\nkind = 'k'\nspec = {{ x = {i} }}\n{needs}")
    };
    (0..rows).rev().map(row).collect()
}

#[test]
fn a_cell_that_many_paths_of_needs_lead_to_is_expanded_once() {
    // 2^60 paths lead from the last row to the first.
    assert_eq!(cells(&chain(60)).expect("a plan").len(), 2 * 59 + 1);
}

#[test]
fn a_long_chain_of_needs_is_refused_and_not_recursed_into() {
    let text = refusal(&chain(5000));
    assert!(text.contains("at most 100 cells that need each other in a row"), "{text}");
}

#[test]
fn needs_of_ten_thousand_cells_by_each_of_ten_thousand_are_refused() {
    let rows = "[[row]]\nname = 'a'\nkind = 'k'\nspec = { x = 1 }\n
        [[row]]\nname = 'b'\nkind = 'k'\nspec = { x = 2 }\nseeds = '1..9000'\nneeds = { all = 'a#1..9000' }\n";
    let text = refusal(rows);
    assert!(text.contains("at most 200000 cells and needs of cells"), "{text}");
}

#[test]
fn a_path_of_a_grid_that_goes_too_deep_is_refused_and_not_recursed_into() {
    let path = "x.".repeat(100_000);
    let rows = format!(
        "[[row]]\nname = 'a'\nkind = 'k'\nspec = {{ x = 1 }}\n[[row.grid]]\ncolumn = 'c'\npath = '{path}y'\nvalues = [1]\n"
    );
    let text = refusal(&rows);
    assert!(text.contains("expected a path of at most 32 parts, got 100001"), "{text}");
}

#[test]
fn lists_that_multiply_to_more_rows_or_text_than_any_file_are_refused() {
    let entries = |value: &str, n: usize| {
        format!("[each]\nlist = [{}]\n", format!("{{ k = '{value}' }}, ").repeat(n))
    };
    let row = "[[row]]\nname = 'r'\nkind = 'k'\neach = 'list'\nspec = { x = '{k}' }\n";
    let text = refusal(&(entries("a", 200) + &row.repeat(200)));
    assert!(text.contains("row[r].each: expected at most 10000 rows"), "{text}");
    let keys = "{k}".repeat(10_000);
    let row =
        format!("[[row]]\nname = 'r'\nkind = 'k'\neach = 'list'\nspec = {{ x = '{keys}' }}\n");
    let text = refusal(&(entries(&"a".repeat(10_000), 1) + &row));
    assert!(text.contains("expected a text of at most 65536 bytes"), "{text}");
}

#[test]
fn a_misspelt_name_of_a_megabyte_costs_no_time() {
    let (long, other) = ("a".repeat(1 << 20), "b".repeat(1 << 20));
    let rows = format!(
        "[[row]]\nname = 'a'\nkind = 'k'\nspec = {{ {long} = 1 }}\nquick = {{ {other} = 1 }}\n"
    );
    assert!(refusal(&rows).contains("is not in the row's spec"));
}
