//! Pictures in folders: what becomes of each kind of file, and of each fault of the folders.

use std::fs;
use std::path::{Path, PathBuf};

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage,
    Rgba, RgbaImage,
};
use kd_base::Blame;
use kd_core::data::cifar::PIXELS;
use kd_core::data::image_folder::{ImageFolder, load};
use kd_core::data::{DataError, Provenance};

/// A picture of one colour.
fn plain(width: u32, height: u32, colour: [u8; 3]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb(colour))
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("a file");
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("an encoded picture");
    bytes.into_inner()
}

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image, ImageFormat::Png)
}

fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(image, ImageFormat::Jpeg)
}

/// Two classes with a picture each in both sets.
fn small(dir: &Path) {
    for part in ["train", "test"] {
        write(dir.join(part).join("cat/1.png"), png(plain(32, 32, [200, 100, 50])));
        write(dir.join(part).join("dog/1.png"), png(plain(32, 32, [10, 20, 30])));
    }
}

fn read(dir: &Path) -> (ImageFolder, Provenance) {
    load(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

fn refused(dir: &Path) -> String {
    let error = load(dir).expect_err("a refusal");
    assert_eq!(error.fault(), kd_base::Fault::BadInput);
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message}");
    message.replace(&dir.display().to_string(), "DIR")
}

/// The planes of the `i`-th training image.
fn planes(folder: &ImageFolder, i: usize) -> &[u8] {
    &folder.sets.train.images[i * PIXELS..][..PIXELS]
}

fn is_plain(planes: &[u8], colour: [u8; 3]) -> bool {
    planes.chunks_exact(PIXELS / 3).zip(colour).all(|(plane, c)| plane.iter().all(|&p| p == c))
}

#[test]
fn classes_and_files_are_numbered_by_the_bytes_of_their_names_and_32x32_keeps_its_bytes() {
    let dir = tempfile::tempdir().expect("a folder");
    let image = RgbImage::from_fn(32, 32, |x, y| Rgb([x as u8, y as u8, (x * y) as u8]));
    // Written in another order than they are read.
    for (class, file, picture) in [
        ("zebra", "1.png", plain(32, 32, [3, 3, 3])),
        ("ant", "b.png", plain(32, 32, [2, 2, 2])),
        ("ant", "a.png", image.clone()),
        ("Ant", "1.png", plain(32, 32, [1, 1, 1])),
    ] {
        write(dir.path().join("train").join(class).join(file), png(picture));
    }
    write(dir.path().join("test/zebra/1.png"), png(plain(32, 32, [4, 4, 4])));
    let (found, provenance) = read(dir.path());
    assert_eq!(found.classes, ["Ant", "ant", "zebra"]);
    assert_eq!((found.sets.train.classes, found.sets.test.classes), (3, 3));
    assert_eq!(found.sets.train.labels, [0, 1, 1, 2]);
    assert_eq!(found.sets.test.labels, [2]);
    assert!(is_plain(planes(&found, 0), [1, 1, 1]) && is_plain(planes(&found, 2), [2, 2, 2]));
    for (i, pixel) in image.pixels().enumerate() {
        let got: [u8; 3] = std::array::from_fn(|c| planes(&found, 1)[c * 1024 + i]);
        assert_eq!(got, pixel.0);
    }
    let note = provenance.note.expect("classes without a test image");
    assert!(note.ends_with(": no test image of Ant, ant"), "{note}");
    assert_eq!(provenance.dataset, "images");
}

#[test]
fn the_content_hash_changes_with_a_pixel_a_class_and_a_name_and_not_with_a_files_name() {
    let hash = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().expect("a folder");
        small(dir.path());
        change(dir.path());
        read(dir.path()).1.content
    };
    let base = hash(&|_| ());
    assert_eq!(base.len(), 16);
    assert_eq!(hash(&|_| ()), base);
    assert_eq!(
        hash(&|dir| fs::rename(dir.join("train/cat/1.png"), dir.join("train/cat/x.PNG")).unwrap()),
        base
    );
    let other = png(plain(32, 32, [200, 100, 51]));
    assert_ne!(hash(&|dir| fs::write(dir.join("test/cat/1.png"), &other).unwrap()), base);
    let rename = |dir: &Path| {
        for part in ["train", "test"] {
            fs::rename(dir.join(part).join("dog"), dir.join(part).join("eel")).unwrap();
        }
    };
    assert_ne!(hash(&rename), base);
}

#[test]
fn every_kind_of_picture_becomes_eight_bit_colour() {
    let grey16 = ImageBuffer::from_pixel(40, 40, Luma([65535u16 / 4]));
    let pictures: [(&str, Vec<u8>, [u8; 3]); 6] = [
        ("1-grey.png", png(GrayImage::from_pixel(9, 7, Luma([77]))), [77; 3]),
        ("2-grey-alpha.png", png(GrayAlphaImage::from_pixel(32, 32, LumaA([5, 0]))), [5; 3]),
        ("3-alpha.png", png(RgbaImage::from_pixel(2, 2, Rgba([1, 2, 3, 0]))), [1, 2, 3]),
        ("4-sixteen.png", png(DynamicImage::ImageLuma16(grey16)), [64; 3]),
        // The content says what a file is, not its name.
        ("5-large.jpg", png(plain(300, 100, [9, 8, 7])), [9, 8, 7]),
        ("6.jpeg", jpeg(GrayImage::from_pixel(64, 64, Luma([128]))), [128; 3]),
    ];
    let dir = tempfile::tempdir().expect("a folder");
    small(dir.path());
    fs::remove_file(dir.path().join("train/cat/1.png")).expect("a removal");
    for (name, bytes, _) in &pictures {
        write(dir.path().join("train/cat").join(name), bytes);
    }
    let (found, provenance) = read(dir.path());
    assert_eq!((found.skipped.as_slice(), provenance.note), (&[][..], None));
    for (i, (name, _, colour)) in pictures.iter().enumerate() {
        assert!(is_plain(planes(&found, i), *colour), "{name}: {:?}", &planes(&found, i)[..4]);
    }
}

#[test]
fn the_square_in_the_middle_is_averaged_down_and_turned_as_exif_says() {
    let dir = tempfile::tempdir().expect("a folder");
    small(dir.path());
    // White at both ends of a wide picture; in the middle squares of 2x2, two values in turn.
    let wide = RgbImage::from_fn(128, 64, |x, _| {
        if (32..96).contains(&x) { Rgb([40 + 100 * (x % 2) as u8; 3]) } else { Rgb([255; 3]) }
    });
    write(dir.path().join("train/cat/2.png"), png(wide));
    // Upper half black, lower half white, and a note that the camera was upside down.
    let halves = RgbImage::from_fn(32, 32, |_, y| Rgb([if y < 16 { 0 } else { 255 }; 3]));
    let exif =
        b"\xff\xe1\x00\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
    let upright = jpeg(halves);
    let turned = [&upright[..2], exif, &upright[2..]].concat();
    write(dir.path().join("train/cat/3.jpg"), turned);
    let (found, _) = read(dir.path());
    // Between the edges the filter's weights on the two values are equal.
    let inner: Vec<u8> =
        planes(&found, 1).chunks_exact(32).flat_map(|row| row[1..31].to_vec()).collect();
    assert!(inner.iter().all(|&p| p.abs_diff(90) <= 1), "{:?}", &inner[..8]);
    let (top, bottom) = (planes(&found, 2)[32], planes(&found, 2)[30 * 32]);
    assert!(top > 240 && bottom < 15, "{top} {bottom}");
}

/// A PNG with an animation control chunk after its header.
fn animated() -> Vec<u8> {
    let plain = png(plain(32, 32, [0; 3]));
    let body = b"acTL\0\0\0\x02\0\0\0\0";
    let mut crc = flate2::Crc::new();
    crc.update(body);
    let chunk = [&8u32.to_be_bytes()[..], body, &crc.sum().to_be_bytes()].concat();
    [&plain[..33], &chunk, &plain[33..]].concat()
}

/// A JPEG whose frame says that it has four components.
fn cmyk() -> Vec<u8> {
    let mut bytes = jpeg(plain(16, 16, [1, 2, 3]));
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame");
    bytes[frame + 9] = 4;
    bytes
}

#[test]
fn what_cannot_be_used_is_left_out_counted_and_named_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    small(dir.path());
    let (whole, photo) = (png(plain(32, 32, [9; 3])), jpeg(plain(90, 60, [9; 3])));
    let mut flipped = whole.clone();
    let middle = flipped.len() - 20;
    flipped[middle] ^= 0x55;
    let files: [(&str, &[u8], &str); 11] = [
        ("a-empty.png", b"", "not a PNG or JPEG image"),
        ("b-text.jpg", b"a letter", "not a PNG or JPEG image"),
        ("c-gif.png", b"GIF89a and more", "not a PNG or JPEG image"),
        ("d-cut.png", &whole[..whole.len() / 2], "broken: "),
        ("e-flipped.png", &flipped, "broken: "),
        ("f-cut.jpg", &photo[..photo.len() - 2], "broken: the file ends early"),
        ("g-head.jpg", &photo[..30], "broken: the file ends early"),
        ("h-animated.png", &animated(), "an animated PNG"),
        ("i-cmyk.jpg", &cmyk(), "a JPEG of four components (CMYK)"),
        ("j-dot.png", &png(plain(1, 1, [0; 3])), "a picture of 1x1"),
        ("k-line.png", &png(plain(90, 1, [0; 3])), "a picture of 90x1"),
    ];
    for (name, bytes, _) in &files {
        write(dir.path().join("train/dog").join(name), bytes);
    }
    write(dir.path().join("train/dog/within/1.png"), &whole);
    write(dir.path().join("train/beside.png"), &whole);
    // Passed over in silence.
    write(dir.path().join("train/dog/.hidden.png"), &whole);
    write(dir.path().join("train/.git/1.png"), &whole);
    let (found, provenance) = read(dir.path());
    assert_eq!(found.sets.train.labels, [0, 1]);
    let said: Vec<(String, &str)> = found
        .skipped
        .iter()
        .map(|s| (s.path.file_name().unwrap().to_string_lossy().into_owned(), &*s.why))
        .collect();
    assert_eq!(said[0], ("beside.png".to_owned(), "not in the folder of a class"));
    for ((name, _, why), (file, said)) in files.iter().zip(&said[1..]) {
        assert_eq!(name, file);
        assert!(said.starts_with(why), "{name}: {said}");
    }
    assert_eq!(said[12], ("within".to_owned(), "a folder within a class"));
    assert_eq!(said.len(), 13);
    let note = provenance.note.expect("a note");
    assert!(
        note.contains("13 of 17 files left out: train/beside.png (not in the folder of a class), ")
            && note.ends_with(" and 8 more"),
        "{note}"
    );
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_file_names_may_be_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    let dir = tempfile::tempdir().expect("a folder");
    small(dir.path());
    let cat = dir.path().join("train/cat");
    symlink(dir.path().join("train/dog/1.png"), cat.join("2-link.png")).expect("a link");
    symlink(dir.path().join("nowhere"), cat.join("3-broken.png")).expect("a link");
    symlink(dir.path().join("train/dog"), dir.path().join("train/eel")).expect("a link");
    let listener = UnixListener::bind(cat.join("4-socket.png"));
    let other = OsStr::from_bytes(b"5-\xff\xfe\n.png");
    write(cat.join(other), png(plain(32, 32, [7; 3])));
    let (found, provenance) = read(dir.path());
    assert_eq!(found.classes, ["cat", "dog", "eel"]);
    assert_eq!(found.sets.train.labels, [0, 0, 0, 1, 2]);
    assert!(is_plain(planes(&found, 1), [10, 20, 30]) && is_plain(planes(&found, 2), [7; 3]));
    let why: Vec<&str> = found.skipped.iter().map(|s| &*s.why).collect();
    let expected = ["a link to nothing", "no regular file"];
    assert_eq!(why, expected[..1 + usize::from(listener.is_ok())]);
    assert!(!provenance.note.expect("a note").contains('\n'));

    fs::create_dir(dir.path().join("train").join(OsStr::from_bytes(b"ca\xff"))).expect("a folder");
    assert!(refused(dir.path()).contains("expected a class whose name is UTF-8"));
}

/// How the folders are put out of order, and what is said of it.
type Fault<'a> = (&'a dyn Fn(&Path), &'a str);

#[test]
fn folders_that_are_not_laid_out_as_they_should_are_refused_with_what_was_expected_and_found() {
    let remove = |path: PathBuf| fs::remove_dir_all(path).expect("a removal");
    let cases: [Fault; 8] = [
        (
            &|dir| remove(dir.join("train")),
            "DIR: expected folders train/ and test/ with a folder for each class, got no folder train",
        ),
        (
            &|dir| remove(dir.join("test")),
            "DIR: expected folders train/ and test/ with a folder for each class, got no folder test",
        ),
        (
            &|dir| remove(dir.join("train/dog")),
            "DIR/train: expected folders of 2 to 256 classes, got 1",
        ),
        (
            &|dir| (0..255).for_each(|i| fs::create_dir(dir.join(format!("train/{i}"))).unwrap()),
            "DIR/train: expected folders of 2 to 256 classes, got 257",
        ),
        (
            &|dir| fs::create_dir(dir.join("train/eel")).unwrap(),
            "DIR/train/eel: expected at least one PNG or JPEG image of this class, got no file",
        ),
        (
            &|dir| write(dir.join("train/eel/1.png"), "no picture"),
            "DIR/train/eel: expected at least one PNG or JPEG image of this class, got none; the \
             first of those left out is 1.png (not a PNG or JPEG image)",
        ),
        (
            &|dir| fs::rename(dir.join("test/dog"), dir.join("test/dogs")).unwrap(),
            "DIR/test/dogs: expected a class of train/, got none; did you mean dog?",
        ),
        (
            &|dir| ["cat", "dog"].iter().for_each(|class| remove(dir.join("test").join(class))),
            "DIR/test: expected test images in folders with the names of the classes, got none",
        ),
    ];
    for (change, expected) in cases {
        let dir = tempfile::tempdir().expect("a folder");
        small(dir.path());
        change(dir.path());
        assert_eq!(refused(dir.path()), expected);
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    write(file.clone(), "no folder");
    let error = load(&file).expect_err("a refusal");
    assert!(matches!(error, DataError::Folder { .. }), "{error}");
}
