use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kd_core::data::mnist::{Mnist, MnistRequest, MnistSource, idx, load};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::assert_modest;
use crate::fixtures::{digits, gz, idx_files, message, write_idx};

const TRAIN_IMAGES: &str = idx::FILES[0];
const TRAIN_LABELS: &str = idx::FILES[1];

#[test]
fn plain_gzipped_and_torchvision_directories_hold_what_was_written() {
    for (below, gzip) in [("", false), ("", true), ("MNIST/raw", false), ("MNIST/raw", true)] {
        let dir = TempDir::new().unwrap();
        write_idx(&dir.path().join(below), &digits(), gzip);
        assert_eq!(idx::load_dir(dir.path()).unwrap(), digits(), "{below} {gzip}");
    }
}

/// The set in a directory whose files have these names and bytes.
fn written(
    rename: impl Fn(&str) -> String,
    fold: impl Fn(&[u8]) -> Vec<u8>,
) -> Result<Mnist, String> {
    let dir = TempDir::new().unwrap();
    for (name, bytes) in idx_files(&digits()) {
        fs::write(dir.path().join(rename(name)), fold(&bytes)).unwrap();
    }
    idx::load_dir(dir.path()).map_err(|e| message(e, dir.path()))
}

#[test]
fn names_with_a_point_and_gzip_under_any_name_are_read() {
    let (same, zipped) = (|name: &str| name.to_owned(), |name: &str| format!("{name}.gz"));
    let dotted = |name: &str| name.replace("-idx", ".idx");
    assert_eq!(written(dotted, <[u8]>::to_vec), Ok(digits()));
    assert_eq!(written(|name| zipped(&dotted(name)), gz), Ok(digits()));
    assert_eq!(written(same, gz), Ok(digits()));
    assert_eq!(written(zipped, <[u8]>::to_vec), Ok(digits()));
    assert_eq!(written(zipped, |bytes| [gz(bytes), vec![0; 512]].concat()), Ok(digits()));
}

#[test]
fn what_is_kept_in_place_of_a_file_is_called_what_it_is() {
    let page = |_: &[u8]| b"<!DOCTYPE html><html>404</html>".to_vec();
    let pointer = |_: &[u8]| b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n".to_vec();
    let error = |fold: &dyn Fn(&[u8]) -> Vec<u8>| {
        written(|name| format!("{name}.gz"), fold).expect_err("no digits")
    };
    assert!(error(&page).contains("got an HTML page"), "{}", error(&page));
    assert!(error(&pointer).contains("got a Git LFS pointer"), "{}", error(&pointer));
}

#[test]
fn a_plain_file_is_preferred_to_its_gzip() {
    let dir = TempDir::new().unwrap();
    write_idx(dir.path(), &digits(), false);
    fs::write(dir.path().join(format!("{TRAIN_IMAGES}.gz")), b"not gzip").unwrap();
    assert_eq!(idx::load_dir(dir.path()).unwrap(), digits());
}

#[test]
fn a_directory_serves_auto_and_mnist_and_is_said_not_to_be_the_original() {
    let dir = TempDir::new().unwrap();
    write_idx(dir.path(), &digits(), false);
    for source in [MnistSource::Auto, MnistSource::Mnist] {
        let (mnist, provenance) =
            load(&MnistRequest::new(source, Some(dir.path().to_path_buf()))).unwrap();
        assert_eq!(mnist, digits());
        assert_eq!((provenance.dataset, &provenance.content), ("mnist", &digits().content_hash()));
        let note =
            message(provenance.note.unwrap(), dir.path()).replace(&provenance.content, "HASH");
        assert_eq!(note, "DIR: 30 + 20 images that are not the original MNIST (content HASH)");
    }
}

#[test]
fn the_dataset_of_candle_datasets_has_the_same_values() {
    let mnist = digits();
    let dataset = candle_datasets::vision::Dataset::try_from(&mnist).unwrap();
    assert_eq!(dataset.train_images.dims(), [30, 784]);
    assert_eq!(dataset.test_labels.to_vec1::<u8>().unwrap(), mnist.test.labels);
    let expected: Vec<f32> = mnist.test.images.iter().map(|&p| f32::from(p) / 255.0).collect();
    assert_eq!(dataset.test_images.flatten_all().unwrap().to_vec1::<f32>().unwrap(), expected);
    assert_eq!(dataset.labels, 10);
}

/// Writes the files with one of them changed, and returns the message.
fn broken(name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let dir = TempDir::new().unwrap();
    for (file, mut bytes) in idx_files(&digits()) {
        if file == name {
            change(&mut bytes);
        }
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    message(idx::load_dir(dir.path()).unwrap_err(), dir.path())
}

#[test]
fn each_kind_of_bad_file_has_its_message() {
    let claim = |at: usize, n: u32| {
        move |bytes: &mut Vec<u8>| bytes[at..at + 4].copy_from_slice(&n.to_be_bytes())
    };
    let messages = [
        broken(TRAIN_IMAGES, claim(0, 2049)),
        broken(TRAIN_IMAGES, claim(8, 32)),
        broken(TRAIN_IMAGES, claim(4, 0)),
        broken(TRAIN_IMAGES, claim(4, u32::MAX)),
        broken(TRAIN_IMAGES, claim(4, 999_999)),
        broken(TRAIN_IMAGES, |bytes| bytes.truncate(10)),
        broken(TRAIN_IMAGES, |bytes| bytes.clear()),
        broken(TRAIN_IMAGES, |bytes| bytes.truncate(5000)),
        broken(TRAIN_IMAGES, |bytes| bytes.push(0)),
        broken(TRAIN_LABELS, claim(0, 7)),
        broken(TRAIN_LABELS, |bytes| bytes[8 + 17] = 10),
        broken(TRAIN_LABELS, |bytes| {
            bytes.pop();
            bytes[7] = 29;
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/train-images-idx3-ubyte: expected magic number 2051, got 2049
    DIR/train-images-idx3-ubyte: expected images of 28x28, got 32x28
    DIR/train-images-idx3-ubyte: expected 1 to 1000000 images, got 0
    DIR/train-images-idx3-ubyte: expected 1 to 1000000 images, got 4294967295
    DIR/train-images-idx3-ubyte: expected 783999216 bytes of images, got 23520
    DIR/train-images-idx3-ubyte: expected 16 bytes of header, got 10
    DIR/train-images-idx3-ubyte: expected an IDX file, plain or gzipped, got an empty file
    DIR/train-images-idx3-ubyte: expected 23520 bytes of images, got 4984
    DIR/train-images-idx3-ubyte: expected 23520 bytes of images, got more
    DIR/train-labels-idx1-ubyte: expected magic number 2049, got 7
    DIR/train-labels-idx1-ubyte: expected labels of 0 to 9, got 10 in row 17
    DIR/train-labels-idx1-ubyte: expected 30 labels, one for each image, got 29
    ");
    assert_modest();
}

#[test]
fn a_gzip_that_is_cut_garbled_or_followed_by_more_has_its_message() {
    let (name, bytes) = &idx_files(&digits())[0];
    let whole = gz(bytes);
    let mut garbled = whole.clone();
    let trailer = garbled.len() - 6;
    garbled[trailer] ^= 1;
    let longer = gz(&[bytes.as_slice(), &[0; 9]].concat());
    let messages = [
        &whole[..whole.len() / 2],
        &garbled,
        &[whole.as_slice(), b"more"].concat(),
        &longer,
        b"no",
    ]
    .map(|bytes| {
        let dir = TempDir::new().unwrap();
        write_idx(dir.path(), &digits(), true);
        fs::write(dir.path().join(format!("{name}.gz")), bytes).unwrap();
        message(idx::load_dir(dir.path()).unwrap_err(), dir.path())
    });
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/train-images-idx3-ubyte.gz: not a whole gzip file: incomplete deflate stream
    DIR/train-images-idx3-ubyte.gz: not a whole gzip file: corrupt gzip stream does not have a matching checksum
    DIR/train-images-idx3-ubyte.gz: not a whole gzip file: bytes behind the gzip stream that are neither zeros nor another stream
    DIR/train-images-idx3-ubyte.gz: expected 23520 bytes of images, got more
    DIR/train-images-idx3-ubyte.gz: expected an IDX file, plain or gzipped, got a text
    ");
}

#[test]
fn a_gzip_that_unfolds_to_more_than_its_header_says_is_not_unfolded() {
    let dir = TempDir::new().unwrap();
    write_idx(dir.path(), &digits(), true);
    // 300 MB of zeros behind the images, written in pieces so that only the reader could hold them.
    let (name, bytes) = &idx_files(&digits())[0];
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    for _ in 0..300 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    fs::write(dir.path().join(format!("{name}.gz")), encoder.finish().unwrap()).unwrap();
    let error = message(idx::load_dir(dir.path()).unwrap_err(), dir.path());
    assert_eq!(error, "DIR/train-images-idx3-ubyte.gz: expected 23520 bytes of images, got more");
    assert_modest();
}

#[test]
fn missing_files_are_named() {
    let load = |dir: &Path| {
        message(
            load(&MnistRequest::new(MnistSource::Auto, Some(dir.to_path_buf()))).unwrap_err(),
            dir,
        )
    };
    let empty = TempDir::new().unwrap();
    let partial = TempDir::new().unwrap();
    write_idx(partial.path(), &digits(), false);
    fs::remove_file(partial.path().join(TRAIN_LABELS)).unwrap();
    insta::assert_snapshot!([load(empty.path()), load(partial.path()), load(&empty.path().join("nowhere"))].join("\n"), @r"
    DIR: MNIST files not found: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz, with -idx or .idx, in this directory or in its MNIST/raw)
    DIR: MNIST files not found: train-labels-idx1-ubyte (plain or .gz, with -idx or .idx, in this directory or in its MNIST/raw)
    DIR: MNIST files not found: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz, with -idx or .idx, in this directory or in its MNIST/raw)
    ");
}

#[test]
fn a_directory_with_generated_data_is_an_error_and_so_is_an_unknown_source() {
    let error = load(&MnistRequest::new(MnistSource::Embedded, Some("digits".into()))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "digits: expected no data directory with generated data, got one"
    );
    let error = "cifar".parse::<MnistSource>().unwrap_err();
    assert_eq!(error.to_string(), "data: expected auto, mnist or embedded, got cifar");
    for source in [MnistSource::Auto, MnistSource::Mnist, MnistSource::Embedded] {
        assert_eq!(source.to_string().parse::<MnistSource>().unwrap(), source);
    }
}

/// What a reader may do with changed bytes: refuse them, or return a whole and valid data set.
fn valid_or_refused(dir: &Path) {
    if let Ok(Mnist { train, test }) = idx::load_dir(dir) {
        for set in [train, test] {
            assert_eq!(set.images.len(), set.len() * 784);
            assert!(set.labels.iter().all(|&l| l < 10));
        }
    }
    assert_modest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn changed_and_cut_bytes_never_panic(
        file in 0usize..4,
        gzip in any::<bool>(),
        changes in prop::collection::vec((prop_oneof![0usize..24, 0usize..30_000], any::<u8>()), 0..6),
        cut in prop::option::of(0usize..30_000),
    ) {
        let dir = TempDir::new().unwrap();
        write_idx(dir.path(), &digits(), gzip);
        let (name, bytes) = &idx_files(&digits())[file];
        let (name, mut bytes) = if gzip { (format!("{name}.gz"), gz(bytes)) } else { (name.to_string(), bytes.clone()) };
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        fs::write(dir.path().join(name), bytes).unwrap();
        valid_or_refused(dir.path());
    }
}
