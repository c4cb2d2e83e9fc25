//! Damaged files, files of others and wrong experiment files: named, and nothing is overwritten.

use std::fs;

use super::*;

#[test]
fn damaged_files_are_reported_with_the_folder_to_delete_and_never_redone() {
    let place = undisturbed();
    let dir = cell_dirs(&place)[0].clone();
    let (result, spec) = (dir.join("result.json"), dir.join("spec.toml"));
    let (good_result, good_spec) = (fs::read(&result).unwrap(), fs::read(&spec).unwrap());
    let expect = |path: &Path, content: &[u8], part: &str| {
        fs::write(path, content).unwrap();
        let error = place.run(&Toy::default(), &[]).unwrap_err();
        let text = error.to_string();
        assert!(error.is_bad_input());
        assert!(
            text.contains(part)
                && text.contains(&format!("delete the folder {}", dir.display()))
                && !text.contains('\n'),
            "{text}"
        );
        assert_eq!(fs::read(path).unwrap(), content, "the damaged file was touched");
    };
    expect(
        &result,
        &good_result[..good_result.len() / 2],
        "result.json: not a result, truncated perhaps",
    );
    expect(&result, b"", "result.json: not a result");
    fs::write(&result, &good_result).unwrap();
    expect(&spec, &good_spec[..good_spec.len() / 2], "spec.toml: not");
    let other = String::from_utf8(good_spec).unwrap().replace("seed = ", "seed = 4");
    expect(&spec, other.as_bytes(), "spec.toml: not the spec of this cell: seed: expected");
    fs::remove_file(&spec).unwrap();
    let text = place.run(&Toy::default(), &[]).unwrap_err().to_string();
    assert!(text.contains("spec.toml: missing"), "{text}");
    fs::remove_dir_all(&dir).unwrap();
    place.run(&Toy::default(), &[]).unwrap();
    assert_eq!(files(&place.out()), files(&undisturbed().out()));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let place = TestFolders::new();
    fs::write(place.root.join("file"), "").unwrap();
    let below = place.root.join("file/below");
    for option in ["--runs-dir", "--out"] {
        let other = place.root.join("elsewhere").join(&option[2..]);
        let other_option = if option == "--out" { "--runs-dir" } else { "--out" };
        let arguments = [option, below.to_str().unwrap(), other_option, other.to_str().unwrap()];
        let error = main(&Toy::default(), &arguments).unwrap_err();
        assert!(error.is_bad_input());
        assert!(error.to_string().contains(below.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_file_of_somebody_elses_is_not_overwritten() {
    let place = TestFolders::new();
    let dir = place.out().join("toy/mnist-quick");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("nets.csv"), "my,own,notes\n1,2,3\n").unwrap();
    let error = place.run(&Toy::default(), &[]).unwrap_err();
    assert!(error.is_bad_input());
    assert!(error.to_string().contains("found the header `my,own,notes`"), "{error}");
    assert_eq!(fs::read_to_string(dir.join("nets.csv")).unwrap(), "my,own,notes\n1,2,3\n");
}

#[test]
fn a_misspelt_spec_is_refused_before_anything_is_run() {
    let place = TestFolders::new();
    let dir = place.root.join("experiments/toy");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("nets.toml"), toy::EXPERIMENTS[0].1.replace("rate = 0.5", "raet = 0.5"))
        .unwrap();
    let experiments = place.root.join("experiments");
    let error =
        place.run(&Toy::default(), &["--experiments", experiments.to_str().unwrap()]).unwrap_err();
    let text = error.to_string();
    assert!(error.is_bad_input());
    assert!(
        text.contains("nets/student")
            && text.contains("did you mean `rate`?")
            && !text.contains('\n'),
        "{text}"
    );
    assert!(!place.runs().exists());
}

#[test]
fn references_to_rows_that_do_not_exist_are_refused() {
    let place = TestFolders::new();
    let dir = place.root.join("experiments/toy");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("nets.toml"), toy::EXPERIMENTS[0].1).unwrap();
    fs::create_dir_all(place.out().join("toy")).unwrap();
    let reference = place.out().join("toy/reference.csv");
    fs::write(
        &reference,
        "table,row,keys,metric,value,kind,where\nnets,teecher,,test-errors,1,paper,x\n",
    )
    .unwrap();
    let experiments = place.root.join("experiments");
    let error =
        place.run(&Toy::default(), &["--experiments", experiments.to_str().unwrap()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: table `nets` has no row `teecher`; did you mean `teacher`?",
            reference.display()
        )
    );
}

#[test]
fn a_misspelt_metric_or_row_is_the_experiment_files_fault_and_not_the_built_in_numbers() {
    let said = |from: &str, to: &str| {
        let place = TestFolders::new();
        let dir = place.root.join("experiments/toy");
        fs::create_dir_all(&dir).unwrap();
        let text = toy::EXPERIMENTS[0].1;
        assert!(text.contains(from), "{from}");
        fs::write(dir.join("nets.toml"), text.replace(from, to)).unwrap();
        let experiments = place.root.join("experiments");
        let error = place
            .run(&Toy::default(), &["--experiments", experiments.to_str().unwrap()])
            .unwrap_err();
        assert!(error.is_bad_input() && !place.runs().exists(), "{error}");
        error.to_string().replace(&dir.display().to_string(), "DIR")
    };
    let error = said("test-errors", "test-erors");
    assert!(
        error.starts_with("DIR/nets.toml: row teacher: the result of nets/teacher seed 1 ")
            && error.ends_with(" has no metric `test-erors`; did you mean `test-errors`?"),
        "{error}"
    );
    assert_eq!(
        said("\"teacher\"", "\"teachers\""),
        "DIR/nets.toml: no row `teacher`, of which the built-in toy/reference.csv has a number; did you mean `teachers`?"
    );
}
