//! `train`, `eval` and `compare` as a user runs them, on folders of pictures: a teacher and its
//! student, kills, and bad input. The tables are the built-in ones.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use image::{Rgb, RgbImage};

use crate::start::{self, binary, output};

/// A folder of pictures of two sizes, `count` in each class of each set; a class is a colour.
fn pictures(dir: &Path, classes: &[&str], count: u32) {
    for part in ["train", "test"] {
        for (class, name) in classes.iter().enumerate() {
            let folder = dir.join(part).join(name);
            std::fs::create_dir_all(&folder).expect("a folder");
            for i in 0..count {
                let noise = |x: u32, y: u32| ((x * 7 + y * 13 + i * 29) % 40) as u8;
                let lit = |c: usize| if c == class % 3 { 180 } else { 20 };
                let picture = RgbImage::from_fn(32 + 8 * (i % 2), 36, |x, y| {
                    Rgb([lit(0) + noise(x, y), lit(1) + noise(y, x), lit(2)])
                });
                picture.save(folder.join(format!("{i}.png"))).expect("a picture");
            }
        }
    }
}

fn run(dir: &Path, arguments: &str) -> Output {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    output(binary(dir, &arguments))
}

fn succeeds(dir: &Path, arguments: &str) -> String {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    start::succeeds(binary(dir, &arguments)).0
}

/// The one line that is said when the command is refused.
fn refused(dir: &Path, arguments: &str) -> String {
    let output = run(dir, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments}: {said}");
    let errors = said.lines().filter(|line| line.starts_with("error: ")).count();
    let strange = said
        .lines()
        .filter(|line| !line.starts_with("error: ") && !line.starts_with('['))
        .collect::<Vec<_>>();
    assert!(errors == 1 && strange.is_empty(), "{arguments}: {said}");
    said
}

const TEACHER: &str =
    "train --data pictures --student resnet14 --method hard-targets --to teacher.safetensors";
const STUDENT: &str = "train --data pictures --student resnet8 --teacher teacher.safetensors \
                       --method review --to student.safetensors";

#[test]
fn a_network_trained_on_pictures_teaches_another_and_both_are_measured_under_the_classes_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    pictures(&dir.join("pictures"), &["blå", "green", "red"], 6);
    let trained = succeeds(dir, TEACHER);
    assert!(
        trained.contains("recipe: same-architecture/resnet56-resnet20-student at preset quick")
            && trained.contains("student  resnet14"),
        "{trained}"
    );
    let taught = succeeds(dir, STUDENT);
    assert!(
        taught.contains("teacher  resnet14")
            && taught.contains("student  resnet8")
            && taught.contains("-> student.safetensors"),
        "{taught}"
    );
    let epochs = taught.lines().find_map(|line| line.strip_prefix("epochs: ")).expect("a path");
    assert!(std::fs::read_to_string(dir.join(epochs)).expect("the epochs").lines().count() > 1);

    // The same cell again: nothing is trained, and no file is replaced unasked.
    let before = std::fs::read(dir.join("student.safetensors")).expect("a network");
    assert!(refused(dir, STUDENT).contains("student.safetensors: exists already"));
    assert_eq!(succeeds(dir, &format!("{STUDENT} --force")), taught);
    assert_eq!(std::fs::read(dir.join("student.safetensors")).expect("a network"), before);

    let measured = succeeds(dir, "eval --data pictures student.safetensors --per-class");
    for part in ["resnet8, ", "normalisation: crd\n", "of 18 test images", "  blå: ", "% of 6"] {
        assert!(measured.contains(part), "{part}: {measured}");
    }
    // Three classes: five of them are all.
    assert!(!measured.contains("top-5"), "{measured}");
    let accuracy = |text: &str, before: &str| {
        let rest = text.split(before).nth(1).expect("a number").trim_start();
        rest.split(' ').next().expect("a number").to_owned()
    };
    assert_eq!(accuracy(&measured, "top-1:"), accuracy(&taught, "student  resnet8"));
    succeeds(dir, "compare --data pictures teacher.safetensors student.safetensors");

    succeeds(dir, "export student.safetensors --to exported.safetensors");
    let exported = succeeds(dir, "eval --data pictures exported.safetensors");
    assert!(exported.contains("normalisation: crd, which the file does not say"), "{exported}");
    assert_eq!(accuracy(&exported, "top-1:"), accuracy(&measured, "top-1:"));
}

#[test]
fn a_teacher_of_other_classes_is_refused_with_both_numbers_or_names_before_training() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    pictures(&dir.join("pictures"), &["blue", "green", "red"], 2);
    pictures(&dir.join("four"), &["blue", "green", "red", "white"], 2);
    pictures(&dir.join("renamed"), &["blue", "green", "violet"], 2);
    succeeds(dir, TEACHER);
    let with = |data: &str| STUDENT.replace("--data pictures", &format!("--data {data}"));
    let four = refused(dir, &with("four"));
    assert!(
        four.contains(
            "teacher.safetensors: expected a network of 4 classes, as the data has, got one of 3"
        ),
        "{four}"
    );
    let renamed = refused(dir, &with("renamed"));
    assert!(
        renamed.contains("expected class 2 to be violet, as in the data, got red"),
        "{renamed}"
    );
    let other = "eval --data four teacher.safetensors";
    assert!(refused(dir, other).contains("expected a network of 4 classes"));
    let other = "compare --data four teacher.safetensors teacher.safetensors";
    assert!(refused(dir, other).contains("expected a network of 4 classes"));
    // Nothing was trained: the only student is the teacher.
    let cells = std::fs::read_dir(dir.join("runs/reviewkd-cifar")).expect("the runs");
    let networks = cells
        .filter(|cell| cell.as_ref().expect("a cell").path().join("network.safetensors").exists());
    assert_eq!(networks.count(), 1);
}

#[test]
fn killed_and_repeated_a_training_ends_with_the_network_of_an_uninterrupted_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    pictures(&dir.join("pictures"), &["blue", "green", "red"], 40);
    let command = |runs: &str| {
        format!(
            "train --data pictures --student resnet8 --method hard-targets --save-every 0 \
             --runs-dir {runs} --to {runs}.safetensors --set train.epochs=24 \
             --set train.schedule.at=[12] --set train.batch-size=16"
        )
    };
    succeeds(dir, &command("whole"));
    // When the state of the one cell was last saved.
    let saved = || -> Option<SystemTime> {
        let cell = std::fs::read_dir(dir.join("killed/reviewkd-cifar")).ok()?.next()?.ok()?.path();
        std::fs::metadata(cell.join("state.safetensors")).ok()?.modified().ok()
    };
    for kill in 0..3 {
        let text = command("killed");
        let arguments: Vec<&str> = text.split_whitespace().collect();
        let mut child = binary(dir, &arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        // An epoch further than the last time.
        let before = saved();
        while saved().is_none() || saved() == before {
            assert_eq!(child.try_wait().expect("a status"), None, "ended before kill {kill}");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().expect("a kill");
        child.wait().expect("its end");
    }
    assert!(!dir.join("killed.safetensors").exists());
    succeeds(dir, &command("killed"));
    let network = |name: &str| std::fs::read(dir.join(name)).expect("a network");
    assert!(network("whole.safetensors") == network("killed.safetensors"));
}

#[test]
fn bad_input_is_refused_in_one_line_that_says_what_and_where() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    pictures(&dir.join("pictures"), &["blue", "green", "red"], 2);
    std::fs::create_dir_all(dir.join("bare")).expect("a folder");
    std::fs::create_dir_all(dir.join("half/train")).expect("a folder");
    std::fs::write(dir.join("text.pth"), "no checkpoint").expect("a file");
    succeeds(dir, TEACHER);
    let train = "train --data pictures --student resnet8";
    let taught = format!("{train} --teacher teacher.safetensors");
    let cases = [
        (format!("{train} --method reveiw"), "did you mean `review`?"),
        (format!("{train} --method review"), "--teacher: review needs one, got none"),
        (format!("{taught} --method hard-targets"), "learns from labels alone"),
        ("train --student resnet9 --method kd".to_owned(), "--student: network: expected one of"),
        (format!("{taught} --teacher teacher.safetensors --method kd"), "--teacher: expected one, got 2"),
        (format!("{train} --method kd --teacher gone.pth"), "gone.pth: No such file"),
        (format!("{train} --method kd --teacher text.pth"), "text.pth: "),
        (
            format!("{train} --method kd --teacher resnet20=teacher.safetensors"),
            "missing layer1.2.bn1.bias",
        ),
        (
            format!("{train} --method kd --teacher resnet57=teacher.safetensors"),
            "--teacher: network: expected one of",
        ),
        (
            format!("{train} --method kd --teacher resnet14:reviewkd=teacher.safetensors"),
            "expected a network trained with normalisation reviewkd, got one trained with crd",
        ),
        (
            format!("{taught} --method kd --set examples.normalisation=reviewkd"),
            "examples.normalisation: expected the teacher's crd",
        ),
        // The memory of crd has a row for each picture: found out before the teacher is measured.
        (format!("{taught} --method crd"), "method.negatives: expected 1 to 4, got 256"),
        (format!("{taught} --method kd --set train.epoch=3"), "did you mean `epochs`?"),
        (format!("{taught} --method kd --set train.epochs"), "--set: expected KEY=VALUE"),
        (format!("{taught} --method kd --seeds 1..3"), "--seeds: expected one"),
        (format!("{taught} --method kd --to no/where.safetensors"), "no/where.safetensors: expected a file, got one in no folder"),
        (format!("{taught} --method kd --to teacher.safetensors"), "exists already"),
        (format!("{taught} --method kd --to bare --force"), "bare: expected a file, got a folder"),
        ("eval resnet20:near=text.pth".to_owned(), "expected reviewkd or crd, got near"),
        (
            "train --data pictures --student mobilenet-v2 --method fsp --teacher teacher.safetensors".to_owned(),
            "fsp",
        ),
        ("list --data cifar101".to_owned(), "did you mean `cifar100`?"),
        ("list --data gone/pictures".to_owned(), "gone/pictures, which is neither"),
        ("list --data bare".to_owned(), "bare: expected folders train/ and test/"),
        ("list --data half".to_owned(), "got no folder test"),
        ("list --data pictures --data-dir bare".to_owned(), "--data-dir: expected none"),
        ("eval --data pictures gone.pth".to_owned(), "gone.pth: no such file"),
        ("eval --data pictures text.pth".to_owned(), "text.pth: "),
    ];
    for (arguments, expected) in cases {
        let said = refused(dir, &arguments);
        assert!(said.contains(expected), "{arguments}: {said}");
        // No cell was begun.
        assert!(!said.lines().any(|line| line.starts_with('[')), "{arguments}: {said}");
    }
}

#[test]
fn a_setting_that_the_rows_leave_out_can_be_set() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    pictures(&dir.join("pictures"), &["blue", "green"], 2);
    succeeds(
        dir,
        &TEACHER.replace("train ", "train --set train.epochs=1 --set train.schedule.at=[] "),
    );
    let other = "train --data pictures --student resnet8 --teacher teacher.safetensors \
                 --method kd --set train.epochs=1 --set train.schedule.at=[] \
                 --set examples.normalisation=reviewkd";
    let said = refused(dir, other);
    assert!(said.contains("or accept-other-normalisation = true"), "{said}");
    let accepted = format!("{other} --set accept-other-normalisation=true");
    succeeds(dir, &accepted);
    succeeds(dir, &format!("{accepted} --set teacher-statistics=batch"));
    assert!(refused(dir, &format!("{accepted} --set teacher-statistics=none")).contains("none"));
}
