//! Files that no PyTorch wrote: one line that names the file, no panic, and no more memory than the
//! file is worth.

use std::io::Write;
use std::path::Path;

use kd_core::torch_checkpoint::Checkpoint;
use kd_core::{Error, Result};
use proptest::prelude::*;
use tempfile::TempDir;

use super::allocations::assert_modest;
use super::golden;

/// Writes the file and reads all of it.
fn read(dir: &Path, bytes: &[u8]) -> Result<usize> {
    let path = dir.join("net.pth");
    std::fs::write(&path, bytes).expect("a write");
    let mut checkpoint = Checkpoint::open(&path)?;
    checkpoint.metadata()?;
    checkpoint.part("abfs")?;
    Ok(checkpoint.network()?.len())
}

fn refused(bytes: &[u8]) -> String {
    let dir = TempDir::new().expect("a folder");
    let e = read(dir.path(), bytes).expect_err("a file that cannot be read");
    assert!(e.is_bad_input(), "{e}");
    assert_modest();
    e.to_string().replace(&format!("{}/", dir.path().display()), "")
}

/// The old layout around a pickled object, the keys of its storages and what follows.
fn old(object: &[u8], keys: &[u8], rest: &[u8]) -> Vec<u8> {
    let head =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.";
    [head, object, keys, rest].concat()
}

/// A state dict of one tensor of these sizes in a storage of floats called `s`; each size is
/// pickled as a signed 8-byte number.
fn tensor(offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let number = |n: &i64| [b"\x8a\x08".as_slice(), &n.to_le_bytes()].concat();
    let tuple = |sizes: &[i64]| {
        [b"(".to_vec(), sizes.iter().flat_map(number).collect(), b"t".to_vec()].concat()
    };
    let storage = b"(U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK\x04NtQ";
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    [
        b"\x80\x02}U\x01w".as_slice(),
        call,
        storage,
        &number(&offset),
        &tuple(shape),
        &tuple(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

const KEYS: &[u8] = b"\x80\x02]U\x01sa.";

fn storage(count: u64, floats: usize) -> Vec<u8> {
    [&count.to_le_bytes()[..], &vec![0; floats * 4]].concat()
}

#[test]
fn the_forger_of_these_tests_can_write_an_honest_file() {
    let dir = TempDir::new().expect("a folder");
    assert_eq!(
        read(dir.path(), &old(&tensor(0, &[2, 2], &[2, 1]), KEYS, &storage(4, 4)))
            .expect("an honest file"),
        1
    );
}

#[test]
fn a_file_that_is_no_checkpoint_or_is_cut_or_forged_is_one_line_that_says_what_was_expected() {
    let deep =
        [b"\x80\x02".to_vec(), b"]".repeat(100_000), b"a".repeat(99_999), b".".to_vec()].concat();
    let files = [
        b"".to_vec(),
        b"\x89HDF\r\n".to_vec(),
        b"PK\x03\x04".to_vec(),
        b"\x80\x02K\x01.".to_vec(),
        old(b"\x80\x02cos\nsystem\nU\x04trueR.", b"\x80\x02].", b""),
        old(b"\x80\x02}U\x01wK\x01s.", b"\x80\x02].", b""),
        old(b"\x80\x02}.", b"\x80\x02].", b""),
        old(b"\x80\x02X\xff\xff\xff\x7fabc.", b"", b""),
        old(b"\x80\x02i", b"", b""),
        old(&deep, b"\x80\x02].", b""),
        old(&tensor(0, &[2, 2], &[2, 1]), KEYS, b"\x04\x00"),
        old(&tensor(0, &[2, 2], &[2, 1]), b"\x80\x02]U\x03\ns\x1ba.", &storage(4, 4)),
        old(&tensor(0, &[2, 2], &[2, 1]), KEYS, &storage(u64::MAX, 4)),
        old(&tensor(0, &[2, 2], &[2, 1]), KEYS, &storage(3, 4)),
        old(&tensor(1, &[2, 2], &[2, 1]), KEYS, &storage(4, 4)),
        old(&tensor(0, &[-2], &[1]), KEYS, &storage(4, 4)),
        old(&tensor(0, &[i64::MAX, i64::MAX], &[0, 0]), KEYS, &storage(4, 4)),
        old(&tensor(0, &[1 << 40], &[0]), KEYS, &storage(4, 4)),
        old(&tensor(i64::MAX, &[2], &[i64::MAX]), KEYS, &storage(4, 4)),
    ];
    let messages: Vec<String> = files.iter().map(|bytes| refused(bytes)).collect();
    assert!(messages.iter().all(|m| !m.contains('\n')), "{messages:?}");
    insta::assert_snapshot!(messages.join("\n"), @r"
    net.pth: expected a PyTorch checkpoint (zip, or the pickles of PyTorch before 1.6), got an empty file
    net.pth: expected a PyTorch checkpoint (zip, or the pickles of PyTorch before 1.6), got an HDF5 file
    net.pth: expected a whole zip file, got: invalid Zip archive: Could not find EOCD
    net.pth: expected the magic number of a PyTorch checkpoint, got an integer
    net.pth: expected a state dict at the top, got an object of os.system: save its state_dict() instead
    net.pth: expected a state dict at the top or under one of model, state_dict, model_state_dict, net, weights, network, params, model_state, student, got a dictionary with the keys w
    net.pth: expected a state dict at the top or under one of model, state_dict, model_state_dict, net, weights, network, params, model_state, student, got a dictionary of 0 entries without tensors
    net.pth: from byte 25: pickle, byte 2: expected 2147483647 bytes more, got 4
    net.pth: from byte 25: pickle, byte 2: operation 0x69 is not one of those that checkpoints use
    net.pth: expected a state dict at the top or under one of model, state_dict, model_state_dict, net, weights, network, params, model_state, student, got a list without tensors
    net.pth: storage s: expected its element count at byte 176, got the end of the file
    net.pth: storage s…: expected a tensor that uses it, got none
    net.pth: storage s: expected 18446744073709551615 elements of 4 bytes, got 16 bytes to the end of the file
    net.pth: w: expected a storage of 4 elements, got 3
    net.pth: w: expected a storage of 5 elements, got 4
    net.pth: w: expected sides and strides that are not negative, got shape [-2] with strides [1]
    net.pth: w: expected a tensor that fits its storage, got shape [9223372036854775807, 9223372036854775807] with strides [0, 0]
    net.pth: w: expected a tensor that fits its storage, got shape [1099511627776] with strides [0]
    net.pth: w: expected a storage of 18446744073709551615 elements, got 4
    ");
}

#[test]
fn an_empty_tensor_whose_other_sides_no_word_counts_is_refused() {
    let side = i64::MAX;
    let text = refused(&old(&tensor(0, &[0, side, side], &[1, 1, 1]), KEYS, &storage(0, 0)));
    assert!(text.contains("expected a tensor that fits its storage"), "{text}");
}

#[test]
fn values_remembered_without_end_are_refused_before_they_fill_the_memory() {
    let text = refused(&old(&[b"\x80\x04N".as_slice(), &[0x94; 5 << 20]].concat(), KEYS, &[]));
    assert!(text.contains("expected at most 4194304 remembered values"), "{text}");
    let text = refused(&old(&[b"\x80\x04N".as_slice(), &[b'2'; 17 << 20]].concat(), KEYS, &[]));
    assert!(text.contains("expected at most 16777216 operations"), "{text}");
}

#[test]
fn a_tensor_that_is_wrapped_in_thousands_of_parameters_is_no_tensor() {
    let mut object = b"\x80\x02}U\x01w".to_vec();
    for _ in 0..10_000 {
        object.extend(b"ctorch._utils\n_rebuild_parameter\n");
    }
    object.push(b'N');
    for _ in 0..10_000 {
        object.extend(b"\x85R");
    }
    object.extend(b"s.");
    let text = refused(&old(&object, b"\x80\x02].", b""));
    assert!(text.contains("expected a state dict at the top"), "{text}");
}

/// A checkpoint of the old layout with one tensor `w` of four floats, made by a call of
/// `_rebuild_tensor_v2` with these operations behind the strides, and by `after` it.
fn made_with(more: &[u8], after: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02}U\x01wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK\x04NtQK\x00K\x04\x85K\x01\x85";
    let floats: Vec<u8> = [1f32, -2., 0.5, 3.].iter().flat_map(|x| x.to_le_bytes()).collect();
    let object = [&head[..], more, b"tR", after, b"s."].concat();
    old(&object, KEYS, &[&4u64.to_le_bytes()[..], &floats].concat())
}

fn values(bytes: &[u8]) -> Vec<f32> {
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("net.pth");
    std::fs::write(&path, bytes).expect("a write");
    let tensors = Checkpoint::open(&path).and_then(|mut c| c.network()).expect("a tensor");
    tensors["w"].to_vec1().expect("floats")
}

#[test]
fn a_lazy_minus_turns_the_signs_and_metadata_that_is_not_known_is_refused() {
    assert_eq!(values(&made_with(b"\x89N", b"")), [1., -2., 0.5, 3.]);
    assert_eq!(values(&made_with(b"\x89N}U\x03neg\x88s", b"")), [-1., 2., -0.5, -3.]);
    assert_eq!(values(&made_with(b"\x89N}U\x03neg\x89s", b"")), [1., -2., 0.5, 3.]);
    assert_eq!(values(&made_with(b"\x88N}U\x04conj\x89s", b"")), [1., -2., 0.5, 3.]);
    let conjugated = refused(&made_with(b"\x89N}U\x04conj\x88s", b""));
    assert!(
        conjugated.contains(
            "w: expected a tensor whose storage holds its numbers, got one with 'conj' set"
        ),
        "{conjugated}"
    );
    let longer = refused(&made_with(b"\x89N}K\x01", b""));
    assert!(longer.contains("expected at most 7 arguments"), "{longer}");
    let odd = refused(&made_with(b"\x89NK\x01", b""));
    assert!(odd.contains("expected a tensor's metadata, got an integer"), "{odd}");
}

#[test]
fn a_tensor_that_is_changed_after_it_is_made_or_is_of_another_class_is_refused() {
    for after in [&b"(K\x01K\x02tb"[..], b"K\x00K\x01s"] {
        let text = refused(&made_with(b"\x89N", after));
        assert!(text.contains("got one that is changed after it is made"), "{text}");
    }
    // A state that is empty changes nothing.
    assert_eq!(values(&made_with(b"\x89N", b"}b")), [1., -2., 0.5, 3.]);
    let of = |class: &str| {
        let inner = b"((U\x07storagectorch\nFloatStorage\nU\x01sU\x03cpuK\x04NtQK\x00K\x04\x85K\x01\x85\x89Nt";
        let object = [
            b"\x80\x02}U\x01wctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n",
            class.as_bytes(),
            inner,
            b"}tRs.",
        ];
        old(&object.concat(), KEYS, &storage(4, 4))
    };
    assert_eq!(values(&of("ctorch.nn.parameter\nParameter\n")), [0.; 4]);
    let text = refused(&of("cmine\nScaled\n"));
    assert!(text.contains("got one of another class: the name mine.Scaled"), "{text}");
}

#[test]
fn a_negative_stride_is_shown_as_it_is() {
    let text = refused(&old(&tensor(3, &[4], &[-1]), KEYS, &storage(4, 4)));
    assert!(text.ends_with("got shape [4] with strides [-1]"), "{text}");
}

#[test]
fn long_names_that_thousands_share_are_refused_before_they_are_copied() {
    let long = [b"X".as_slice(), &(1u32 << 20).to_le_bytes(), &vec![b'x'; 1 << 20]].concat();
    // The same megabyte as the name of 100,000 tensors, and as the key of their storages.
    let one = b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nh\x01U\x03cpuK\x01NtQK\x00)))NtRq\x02";
    let names =
        [&b"\x80\x02"[..], &long, b"q\x01", one, b"}(", &b"h\x01h\x02".repeat(100_000), b"u."];
    let text = refused(&old(&names.concat(), b"\x80\x02].", b""));
    assert!(text.contains("expected a state dict at the top"), "{text}");
    let keys = [&b"\x80\x02"[..], &long, b"q\x01", one, b"}U\x01wh\x02s."].concat();
    let list = [&b"\x80\x02"[..], &long, b"q\x01](", &b"h\x01".repeat(100_000), b"e."].concat();
    let text = refused(&old(&keys, &list, &[0; 8]));
    assert!(text.len() < 200 && text.contains("expected a tensor that uses it"), "{text}");
}

#[test]
fn values_without_end_are_refused_before_they_fill_the_memory() {
    let bytes =
        old(&[b"\x80\x02(".to_vec(), b"N".repeat(5 << 20), b"l.".to_vec()].concat(), b"", b"");
    assert_eq!(
        refused(&bytes),
        "net.pth: from byte 25: pickle, byte 4194307: expected at most 4194304 values, got more"
    );
}

#[test]
fn a_zip_file_without_a_pickle_and_one_with_a_compressed_or_missing_storage_are_refused() {
    let zip = |files: &[(&str, &[u8])]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let how = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored);
        for (name, bytes) in files {
            writer.start_file(*name, how).expect("an entry");
            writer.write_all(bytes).expect("a write");
        }
        writer.finish().expect("a zip file").into_inner()
    };
    let object = tensor(0, &[2, 2], &[2, 1]);
    let messages = [
        zip(&[("a/readme", b"hello")]),
        zip(&[("a/data.pkl", &object), ("b/data.pkl", &object)]),
        zip(&[("a/data.pkl", &object), ("a/byteorder", b"big")]),
        zip(&[("a/data.pkl", &object)]),
        zip(&[("a/data.pkl", &object), ("a/data/s", &[0; 15])]),
    ];
    let mut messages: Vec<String> = messages.iter().map(|bytes| refused(bytes)).collect();
    let mut compressed = zip(&[("a/data.pkl", &object)]);
    let central = compressed.windows(4).position(|w| w == b"PK\x01\x02").expect("the directory");
    (compressed[8], compressed[central + 10]) = (8, 8);
    messages.push(refused(&compressed));
    insta::assert_snapshot!(messages.join("\n"), @r#"
    net.pth: expected a PyTorch checkpoint, got a zip file with 0 files called data.pkl
    net.pth: expected a PyTorch checkpoint, got a zip file with 2 files called data.pkl
    net.pth: expected little-endian numbers, got "big"
    net.pth: w: a/data/s in the zip file: specified file not found in archive
    net.pth: w: expected a storage of 4 elements, got 3
    net.pth: a/data.pkl in the zip file: expected it stored, as torch.save writes it, got it compressed
    "#);
}

/// What a reader may do with changed bytes: read some numbers, or refuse with one line.
fn read_or_refused(dir: &Path, bytes: &[u8]) -> Result<(), TestCaseError> {
    match read(dir, bytes) {
        Ok(_) => {}
        Err(e @ (Error::BadInput(_) | Error::Io { .. })) => {
            prop_assert!(!e.to_string().contains('\n'), "{e}")
        }
        Err(other) => prop_assert!(false, "not bad input: {other}"),
    }
    assert_modest();
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_and_cut_bytes_never_panic(
        file in prop::sample::select(vec!["teacher", "teacher_old", "last_old", "distilled", "views", "views_old", "dtypes_old"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let dir = TempDir::new().expect("a folder");
        let mut bytes = std::fs::read(golden().join(format!("{file}.pth"))).expect("the golden file");
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.map_or(usize::MAX, |cut| cut.index(bytes.len())));
        read_or_refused(dir.path(), &bytes)?;
    }

    #[test]
    fn sizes_of_any_value_never_panic(offset: i64, shape: Vec<i64>, strides: Vec<i64>, count: u64) {
        let dir = TempDir::new().expect("a folder");
        read_or_refused(dir.path(), &old(&tensor(offset, &shape, &strides), KEYS, &storage(count, 8)))?;
        read_or_refused(dir.path(), &old(&tensor(offset & 7, &[offset & 3, 2], &[count as i64 & 3, 1]), KEYS, &storage(8, 8)))?;
    }

    #[test]
    fn any_operations_never_panic(operations in prop::collection::vec(prop_oneof![
        prop::sample::select(b"(N.]})tlduseaRbQq\x00h\x00j2 01\x85\x86\x87\x94\x93\x81\x92\x8f\x90\x91K\x01".to_vec()),
        any::<u8>(),
    ], 0..60)) {
        let dir = TempDir::new().expect("a folder");
        read_or_refused(dir.path(), &old(&[b"\x80\x02", &operations[..]].concat(), KEYS, &storage(8, 8)))?;
    }
}
