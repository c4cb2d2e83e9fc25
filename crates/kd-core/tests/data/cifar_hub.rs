//! CIFAR from the hub's tables and its cache.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kd_core::data::cifar::{Cifar, CifarRequest, CifarSource, Kind, PIXELS, load};
use kd_core::data::hub::Hub;
use kd_core::data::table;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::assert_modest;
use crate::cifar_fixtures::{colour_parquet, colour_png, layout, pictures};
use crate::fixtures::{message, parquet_rows};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache as the hub's clients lay it out.
fn fill(cache: &Path, kind: Kind, cifar: &Cifar) {
    let repo = cache.join(format!("datasets--uoft-cs--{}", kind.name()));
    fs::create_dir_all(repo.join("refs/refs/convert")).unwrap();
    fs::write(repo.join("refs/refs/convert/parquet"), COMMIT).unwrap();
    for (file, set) in kind.repo().files.iter().zip([&cifar.train, &cifar.test]) {
        let path = repo.join("snapshots").join(COMMIT).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, colour_parquet(kind, set)).unwrap();
    }
}

fn request(source: CifarSource, cache: &Path) -> CifarRequest {
    let endpoint = Some("http://127.0.0.1:1".to_string());
    let hub = Hub {
        cache: Some(cache.to_path_buf()),
        endpoint,
        offline: false,
        patience: Duration::from_secs(10),
    };
    let mut request = CifarRequest { hub, original: false, ..CifarRequest::new(source, None) };
    (request.embedded.train, request.embedded.test) = (40, 20);
    request
}

#[test]
fn a_cached_data_set_needs_no_server() {
    let cache = TempDir::new().unwrap();
    for (source, kind) in [
        (CifarSource::Cifar(Kind::Cifar10), Kind::Cifar10),
        (CifarSource::Cifar(Kind::Cifar100), Kind::Cifar100),
        (CifarSource::Auto, Kind::Cifar100),
    ] {
        fill(cache.path(), kind, &pictures(kind));
        let (cifar, provenance) = load(&request(source, cache.path())).unwrap();
        assert_eq!(cifar, pictures(kind));
        assert_eq!((provenance.dataset, provenance.note), (kind.name(), None));
        assert!(provenance.found.ends_with(kind.repo().files[0]));
    }
}

#[test]
fn without_a_server_auto_generates_and_says_so_and_a_named_data_set_fails() {
    let cache = TempDir::new().unwrap();
    let (cifar, provenance) = load(&request(CifarSource::Auto, cache.path())).unwrap();
    assert_eq!(
        (cifar.train.len(), cifar.test.len(), cifar.train.classes, provenance.dataset),
        (40, 20, 20, "embedded")
    );
    assert_eq!(provenance.found, "generated: 40 + 20 shapes, seed 0");
    let error = load(&request(CifarSource::Cifar(Kind::Cifar100), cache.path())).unwrap_err();
    let note = provenance.note.unwrap();
    assert!(note.starts_with("uoft-cs/cifar100: not in the Hugging Face cache and not downloaded from http://127.0.0.1:1: "), "{note}");
    assert_eq!(
        note,
        format!("{error}; using generated shapes instead, whose results are not CIFAR-100's")
    );
    let error =
        load(&request(CifarSource::Cifar(Kind::Cifar10), cache.path())).unwrap_err().to_string();
    assert!(error.starts_with("uoft-cs/cifar10: "), "{error}");
}

#[test]
fn tables_of_other_images_are_refused_where_the_original_is_asked_for() {
    let cache = TempDir::new().unwrap();
    let messages = [Kind::Cifar10, Kind::Cifar100].map(|kind| {
        fill(cache.path(), kind, &pictures(kind));
        let request =
            CifarRequest { original: true, ..request(CifarSource::Cifar(kind), cache.path()) };
        message(load(&request).unwrap_err(), cache.path())
    });
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/datasets--uoft-cs--cifar10/snapshots/0123456789abcdef0123456789abcdef01234567/plain_text/train/0000.parquet: expected the images and labels of CIFAR-10 (5,000 + 1,000 images of each class), got 10 + 4 images; delete DIR/datasets--uoft-cs--cifar10, and it is downloaded again
    DIR/datasets--uoft-cs--cifar100/snapshots/0123456789abcdef0123456789abcdef01234567/cifar100/train/0000.parquet: expected the file that the hub published, with SHA-256 3f742af9c991d06bfd3e2b775b31150df4dcf9c271261366465ab563d3d9f862, got 985232b959cbc04d3c430a64b676e2c0b0a6aebe5f7ad2940ab9579f8ac368b1; delete DIR/datasets--uoft-cs--cifar100, and it is downloaded again
    ");
}

#[test]
fn rows_of_a_png_are_rows_of_the_planes() {
    // Red grows to the right, green downwards, blue with neither: swapping height and width would
    // swap the first two.
    let mut image = image::RgbImage::new(32, 32);
    image
        .enumerate_pixels_mut()
        .for_each(|(x, y, pixel)| *pixel = image::Rgb([8 * x as u8, 8 * y as u8, 99]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("0000.parquet");
    fs::write(&path, parquet_rows(&[(Some(png.into_inner()), 3)], &layout(Kind::Cifar100)))
        .unwrap();
    let set = table::read(&path, &Kind::Cifar100.schema()).unwrap();
    for y in 0..32 {
        for x in 0..32 {
            let pixel = [0, 1, 2].map(|c| set.images[(c * 32 + y) * 32 + x]);
            assert_eq!(pixel, [8 * x as u8, 8 * y as u8, 99], "row {y}, column {x}");
        }
    }
}

#[test]
fn each_kind_of_bad_table_has_its_message() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("0000.parquet");
    let read = |kind: Kind, bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        message(table::read(&path, &kind.schema()).unwrap_err(), dir.path())
    };
    let row = |label, cols, rows| {
        (Some(colour_png(&vec![7; (3 * cols * rows) as usize], cols, rows)), label)
    };
    let table = |rows: &[_]| parquet_rows(rows, &layout(Kind::Cifar100));
    let messages = [
        read(Kind::Cifar10, &table(&[row(3, 32, 32)])),
        read(Kind::Cifar100, &colour_parquet(Kind::Cifar10, &pictures(Kind::Cifar10).train)),
        read(Kind::Cifar100, &table(&[row(3, 32, 32), row(100, 32, 32)])),
        read(Kind::Cifar100, &table(&[row(3, 32, 31)])),
        read(Kind::Cifar100, &table(&[row(3, 33, 32)])),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/0000.parquet: expected a Parquet table of images and labels, got no column label
    DIR/0000.parquet: expected a Parquet table of images and labels, got no column fine_label
    DIR/0000.parquet: expected labels of 0 to 99, got 100 in row 1
    DIR/0000.parquet: expected a Parquet table of images and labels, got row 0: an image of 31x32, expected 32x32
    DIR/0000.parquet: expected a Parquet table of images and labels, got row 0: Image size exceeds limit
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn changed_and_cut_bytes_never_panic_or_ask_for_much_memory(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..5),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = colour_parquet(Kind::Cifar100, &pictures(Kind::Cifar100).test);
        let n = bytes.len();
        for (at, value, footer) in changes {
            let at = if footer { n - 1 - at.index(1200.min(n)) } else { at.index(n) };
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(n));
        }
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("0000.parquet");
        fs::write(&path, bytes).unwrap();
        if let Ok(set) = table::read(&path, &Kind::Cifar100.schema()) {
            prop_assert_eq!(set.images.len(), set.len() * PIXELS);
            prop_assert!(set.labels.iter().all(|&l| l < 100) && set.coarse.unwrap().labels.iter().all(|&l| l < 20));
        }
        assert_modest();
    }
}
