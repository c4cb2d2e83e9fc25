use std::cell::Cell;

use super::*;

const IMAGES: usize = 8;
const ROOM: u64 = 1 << 30;

fn store(dir: &Path, views: usize, limit: u64) -> StoredOutputs {
    StoredOutputs::open(dir, &"a teacher", IMAGES, NonZeroUsize::new(views), limit)
        .expect("a store")
}

/// What a teacher says of these images in this epoch: two logits, and a tap of shape [2, 1].
fn said(epoch: usize, numbers: &[u32]) -> Result<Outputs> {
    let value = |n: &u32| (10 * epoch) as f32 + *n as f32;
    let of = |scale: f32| -> Vec<f32> {
        numbers.iter().flat_map(|n| [scale * value(n), scale * value(n) + 0.5]).collect()
    };
    let n = numbers.len();
    Ok(Outputs {
        logits: Tensor::from_vec(of(1.), (n, 2), &Device::Cpu)?,
        taps: vec![Tensor::from_vec(of(-1.), (n, 2, 1), &Device::Cpu)?],
    })
}

/// Logits and the tap, and whether the teacher was asked.
fn asked(
    store: &StoredOutputs,
    epoch: usize,
    numbers: &[u32],
) -> Result<(Vec<Vec<f32>>, Vec<f32>, bool)> {
    let asked = Cell::new(false);
    let outputs = store.outputs(epoch, numbers, &["stage1"], &Device::Cpu, || {
        asked.set(true);
        said(epoch, numbers)
    })?;
    assert_eq!(outputs.taps[0].dims(), [numbers.len(), 2, 1]);
    Ok((outputs.logits.to_vec2()?, outputs.taps[0].flatten_all()?.to_vec1()?, asked.get()))
}

fn expected(epoch: usize, numbers: &[u32]) -> Result<(Vec<Vec<f32>>, Vec<f32>)> {
    let outputs = said(epoch, numbers)?;
    Ok((outputs.logits.to_vec2()?, outputs.taps[0].flatten_all()?.to_vec1()?))
}

#[test]
fn the_teacher_is_asked_once_whoever_asks_in_which_order() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second) = (store(dir.path(), 0, ROOM), store(dir.path(), 0, ROOM));
    for (store, epoch, numbers, computed) in [
        (&first, 0, [0, 1, 2], true),
        (&first, 0, [3, 4, 5], true),
        (&second, 0, [5, 0, 4], false),
        // One of them is missing.
        (&second, 0, [5, 0, 6], true),
        (&first, 0, [6, 6, 1], false),
        // Another epoch is another view.
        (&first, 1, [0, 1, 2], true),
        (&second, 0, [0, 1, 2], false),
        (&second, 1, [2, 1, 0], false),
    ] {
        let (logits, tap, asked) = asked(store, epoch, &numbers)?;
        assert_eq!((logits, tap), expected(epoch, &numbers)?, "{epoch} {numbers:?}");
        assert_eq!(asked, computed, "{epoch} {numbers:?}");
    }
    Ok(())
}

#[test]
fn views_are_seen_again_after_so_many_epochs() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(dir.path(), 2, ROOM);
    assert!(asked(&store, 0, &[1, 2])?.2 && asked(&store, 1, &[1, 2])?.2);
    for epoch in 2..6 {
        let (logits, tap, asked) = asked(&store, epoch, &[2, 1])?;
        assert!(!asked);
        assert_eq!((logits, tap), expected(epoch % 2, &[2, 1])?);
    }
    Ok(())
}

#[test]
fn methods_that_ask_for_different_taps_share_what_they_have_in_common() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(dir.path(), 0, ROOM);
    let asked_for = |taps: &[&str]| -> Result<bool> {
        let asked = Cell::new(false);
        let outputs = store.outputs(0, &[3], taps, &Device::Cpu, || {
            asked.set(true);
            let all = said(0, &[3])?;
            Ok(Outputs { logits: all.logits, taps: vec![all.taps[0].clone(); taps.len()] })
        })?;
        assert_eq!(outputs.taps.len(), taps.len());
        Ok(asked.get())
    };
    assert!(asked_for(&["stage1"])?);
    assert!(!asked_for(&[])?);
    assert!(asked_for(&["stage1", "stage2"])?);
    assert!(!asked_for(&["stage2"])? && !asked_for(&["stage2", "stage1"])?);
    Ok(())
}

#[test]
fn the_oldest_views_make_room_for_new_ones() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    // A view has two files, of two numbers an image: three views fit.
    let limit = 3 * 2 * Records::size(IMAGES, &[2]) + 10;
    let store = store(dir.path(), 0, limit);
    for epoch in 0..5 {
        assert!(asked(&store, epoch, &[0, 7])?.2);
    }
    let there = store.stored()?;
    assert_eq!(there.iter().map(|(view, _)| *view).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(there.iter().map(|(_, size)| size).sum::<u64>() <= limit);
    // One that comes late computes its view again, and others go.
    let (logits, tap, asked) = asked(&store, 0, &[0, 7])?;
    assert!(asked);
    assert_eq!((logits, tap), expected(0, &[0, 7])?);
    Ok(())
}

#[test]
fn a_number_of_views_that_does_not_fit_is_refused_before_the_second_is_made() {
    let dir = tempfile::tempdir().expect("a folder");
    let limit = 6 * Records::size(IMAGES, &[2]);
    assert!(asked(&store(dir.path(), 3, limit), 0, &[1]).is_ok());
    let error = asked(&store(&dir.path().join("b"), 4, limit), 0, &[1]).expect_err("refused");
    assert!(error.is_bad_input());
    let text = error.to_string();
    assert!(
        text.starts_with(
            "stored teacher outputs: 4 views of 8 images take 1.3 KiB or more, the limit is 1.0 KiB"
        ),
        "{text}"
    );
}

#[test]
fn who_comes_while_another_computes_waits_and_reads() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second) = (store(dir.path(), 0, ROOM), store(dir.path(), 0, ROOM));
    let (begun, waits) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || {
            first.outputs(0, &[1], &["stage1"], &Device::Cpu, || {
                begun.send(()).expect("the other side lives");
                std::thread::sleep(std::time::Duration::from_millis(100));
                said(0, &[1])
            })
        });
        waits.recv().expect("the first has begun");
        let (_, _, computed) = asked(&second, 0, &[1])?;
        assert!(!computed);
        slow.join().expect("no panic").map(drop)
    })
}

#[test]
fn what_is_no_batch_of_floats_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = store(dir.path(), 0, ROOM);
    let wrong = || {
        let logits = Tensor::zeros((3, 2), DType::F32, &Device::Cpu)?;
        Ok(Outputs { logits, taps: Vec::new() })
    };
    let error = store.outputs(0, &[1, 2], &[], &Device::Cpu, wrong).map(drop).expect_err("refused");
    assert!(error.to_string().contains("expected 32-bit floats of 2 images, got F32"), "{error}");
}

#[test]
fn stores_of_other_runs_have_folders_of_their_own_that_say_what_they_are_of() -> Result<()> {
    let dir = tempfile::tempdir().expect("a folder");
    let open = |about: &str| StoredOutputs::open(dir.path(), &about, IMAGES, None, ROOM);
    let (one, other) = (open("one")?, open("other")?);
    assert!(
        asked(&one, 0, &[1])?.2 && asked(&other, 0, &[1])?.2 && !asked(&open("one")?, 0, &[1])?.2
    );
    let about = one.dir.join("about.json");
    assert_eq!(fs::read_to_string(&about).expect("a description"), "\"one\"");
    fs::write(&about, "\"two\"").expect("written");
    let error = open("one").expect_err("refused");
    assert!(
        error.is_bad_input() && error.to_string().contains("about.json: expected the description")
    );
    Ok(())
}
