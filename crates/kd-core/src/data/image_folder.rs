//! Pictures in folders, `train/<class>/*.png|jpg` and `test/<class>/*.png|jpg`, as 32×32 colour
//! images.
//!
//! **Classes** are the folders of `train/`, numbered in the order of the bytes of their names, which
//! have to be UTF-8. There are 2 to 256 of them, each with an image. A folder of `test/` has to have
//! the name of one of them; a class without a test image is accepted and said.
//!
//! **Files** of a class are taken in the order of the bytes of their names, which may be any.
//! Symbolic links are followed. Names that begin with a dot are passed over in silence. What else
//! cannot be used is left out, counted and named with the reason: files that are not PNG or JPEG by
//! their content, broken or cut off ones, animated PNGs, CMYK JPEGs (their colours depend on a
//! profile), pictures of one pixel's width or height, pictures that unfold to more than 256 MiB,
//! folders within a class, files beside the classes.
//!
//! **Pixels**: turned as the EXIF orientation says; 16 bits a channel rounded to 8; grey repeated in
//! the three channels; alpha dropped, as torchvision's `ImageFolder` has it; the square in the middle
//! cut out and scaled to 32×32 by the triangle filter, whose support grows with the reduction (the
//! bilinear filter of Pillow, antialiased). A picture of 32×32 keeps its bytes.

use std::fs;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, Limits, RgbImage};
use kd_base::{message, nearest};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::file_kind::FileKind;

use super::cifar::{Cifar, PIXELS, SIDE};
use super::images::{LabelledImages, planes};
use super::{DataError, Known, Provenance};

/// The name of such data among data sets.
pub const DATASET: &str = "images";
/// As many classes as a byte can tell apart.
const MAX_CLASSES: usize = 256;
/// The most bytes that a picture may unfold to, and the most that its file may have.
const MAX_BYTES: u64 = 256 << 20;
/// So many of the files that are left out are named in the note.
const NAMED: usize = 5;

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFolder {
    /// The training set and the test set, 32×32 in three channels.
    pub sets: Cifar,
    /// The names of the classes, by label.
    pub classes: Vec<String>,
    /// What was left out, in the order in which it was met: training set first, sorted.
    pub skipped: Vec<Skipped>,
}

/// A file that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// Reads the pictures of `dir`. The note of the provenance counts what was left out and names the
/// first five, and names the classes without a test image. The content hash covers pixels, labels
/// and the names of the classes.
///
/// # Errors
/// [`DataError::Folder`] where `train/` or `test/` is missing, or the classes are not as the
/// [module](self) says; [`DataError::Io`] where a file or a folder cannot be read.
pub fn load(dir: &Path) -> Result<(ImageFolder, Provenance), DataError> {
    let mut skipped = Vec::new();
    let folders = classes(dir, &mut skipped)?;
    let names: Vec<String> = folders.iter().map(|(name, _)| name.clone()).collect();
    let train = read(&folders, names.len(), &mut skipped)?;
    let counts = train.class_counts();
    if let Some((_, path)) = folders.iter().zip(&counts).find(|(_, n)| **n == 0).map(|(f, _)| f) {
        let first = skipped.iter().find(|s| s.path.starts_with(path));
        let got = first.map_or("no file".to_owned(), |s| {
            format!("none; the first of those left out is {}", shown(s, path))
        });
        return Err(folder(path, "at least one PNG or JPEG image of this class", got));
    }
    let folders = test_classes(&dir.join("test"), &names, &mut skipped)?;
    let test = read(&folders, names.len(), &mut skipped)?;
    if test.is_empty() {
        let expected = "test images in folders with the names of the classes";
        return Err(folder(&dir.join("test"), expected, "none"));
    }
    let sets = Cifar { train, test };
    let note = note(dir, &sets, &names, &skipped);
    let (classes, train, test) = (names.len(), sets.train.len(), sets.test.len());
    let provenance = Provenance {
        dataset: DATASET,
        known: Known::Other,
        found: format!("{}: {classes} classes, {train} + {test} images", dir.display()),
        note,
        content: content(&sets, &names),
    };
    Ok((ImageFolder { sets, classes: names, skipped }, provenance))
}

/// The name and the folder of each class, by label.
type Folders = Vec<(String, PathBuf)>;

/// The folders of `train/`, by label.
fn classes(dir: &Path, skipped: &mut Vec<Skipped>) -> Result<Folders, DataError> {
    let train = dir.join("train");
    for part in [&train, &dir.join("test")] {
        if !part.is_dir() {
            return Err(folder(dir, "folders train/ and test/ with a folder for each class", {
                format!("no folder {}", part.file_name().unwrap_or_default().display())
            }));
        }
    }
    let folders = subfolders(&train, skipped)?
        .into_iter()
        .map(|path| match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => Ok((name.to_owned(), path)),
            None => Err(folder(&path, "a class whose name is UTF-8", "other bytes")),
        })
        .collect::<Result<Folders, _>>()?;
    match folders.len() {
        2..=MAX_CLASSES => Ok(folders),
        n => Err(folder(&train, &format!("folders of 2 to {MAX_CLASSES} classes"), n)),
    }
}

/// The folders of `test/`, by label; a class may have none.
fn test_classes(
    test: &Path,
    names: &[String],
    skipped: &mut Vec<Skipped>,
) -> Result<Folders, DataError> {
    let mut folders: Folders = names.iter().map(|name| (name.clone(), PathBuf::new())).collect();
    for path in subfolders(test, skipped)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Names that are no UTF-8 are none of the classes'.
        match folders.iter_mut().find(|(known, _)| path.ends_with(known.as_str())) {
            Some((_, place)) => *place = path,
            None => {
                let hint = nearest::nearest(&name, names.iter().map(String::as_str))
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                return Err(folder(&path, "a class of train/", format!("none{hint}")));
            }
        }
    }
    Ok(folders)
}

/// The folders in `dir`, sorted; files beside them are left out.
fn subfolders(dir: &Path, skipped: &mut Vec<Skipped>) -> Result<Vec<PathBuf>, DataError> {
    let (folders, others): (Vec<_>, Vec<_>) = entries(dir)?.into_iter().partition(|p| p.is_dir());
    skipped.extend(
        others
            .into_iter()
            .map(|path| Skipped { path, why: "not in the folder of a class".to_owned() }),
    );
    Ok(folders)
}

/// What lies in `dir`, hidden entries left out, in the order of the bytes of the names.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fault = |source| DataError::Io { path: dir.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The images of all classes, class by class; an empty path stands for a class without a folder.
fn read(
    folders: &Folders,
    classes: usize,
    skipped: &mut Vec<Skipped>,
) -> Result<LabelledImages, DataError> {
    let mut set = LabelledImages {
        channels: 3,
        ..LabelledImages::grey(Vec::new(), Vec::new(), SIDE, SIDE, classes)
    };
    for (label, (_, place)) in folders.iter().enumerate() {
        if place.as_os_str().is_empty() {
            continue;
        }
        let paths = entries(place)?;
        let read: Vec<Result<Pixels, Fault>> =
            paths.par_iter().with_max_len(1).map(|path| one(path)).collect();
        for (path, outcome) in paths.into_iter().zip(read) {
            match outcome {
                Ok(pixels) => {
                    set.images.extend_from_slice(&*pixels);
                    // There are at most 256 classes.
                    set.labels.push(label as u8);
                }
                Err(Fault::Skip(why)) => skipped.push(Skipped { path, why }),
                Err(Fault::Stop(source)) => return Err(DataError::Io { path, source }),
            }
        }
    }
    Ok(set)
}

/// The three planes of an image.
type Pixels = Box<[u8; PIXELS]>;

/// Why a file is no image of the set.
enum Fault {
    /// It is left out.
    Skip(String),
    /// It cannot be read.
    Stop(std::io::Error),
}

fn one(path: &Path) -> Result<Pixels, Fault> {
    let skip = |why: &str| Err(Fault::Skip(why.to_owned()));
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return skip("a link to nothing"),
        Err(e) => return Err(Fault::Stop(e)),
    };
    // A pipe would wait for its writer for ever.
    if !about.is_file() {
        return skip(if about.is_dir() { "a folder within a class" } else { "no regular file" });
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(Fault::Stop)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(Fault::Stop)?;
    if bytes.len() as u64 > MAX_BYTES {
        return skip("a file of more than 256 MiB");
    }
    let square = picture(&bytes).and_then(square).map_err(Fault::Skip)?;
    let mut pixels = Box::new([0; PIXELS]);
    planes(&square, &mut pixels[..]);
    Ok(pixels)
}

/// Decodes a PNG or a JPEG, told by its content.
fn picture(bytes: &[u8]) -> Result<DynamicImage, String> {
    let fault = |e: image::ImageError| format!("broken: {}", message::with_causes(&e));
    match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => {
            let mut limits = Limits::no_limits();
            limits.max_alloc = Some(MAX_BYTES);
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(fault)?;
            match decoder.is_apng().map_err(fault)? {
                true => Err("an animated PNG".to_owned()),
                false => decoded(decoder),
            }
        }
        Ok(ImageFormat::Jpeg) => {
            jpeg_fault(bytes).map_or(Ok(()), |why| Err(why.to_owned()))?;
            decoded(JpegDecoder::new(Cursor::new(bytes)).map_err(fault)?)
        }
        _ => match FileKind::of(&bytes[..bytes.len().min(512)]) {
            kind @ (FileKind::Empty | FileKind::LfsPointer | FileKind::Html) => {
                Err(format!("not a PNG or JPEG image but {kind}"))
            }
            _ => Err("not a PNG or JPEG image".to_owned()),
        },
    }
}

fn decoded(mut decoder: impl ImageDecoder) -> Result<DynamicImage, String> {
    let fault = |e: image::ImageError| format!("broken: {}", message::with_causes(&e));
    let (width, height) = decoder.dimensions();
    if width.min(height) < 2 {
        return Err(format!("a picture of {width}x{height}"));
    }
    if decoder.total_bytes() > MAX_BYTES {
        return Err(format!("a picture of {width}x{height}, more than 256 MiB"));
    }
    let orientation = decoder.orientation().map_err(fault)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fault)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The square in the middle, scaled.
fn square(image: DynamicImage) -> Result<RgbImage, String> {
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    let side = width.min(height);
    let cut = imageops::crop_imm(&image, (width - side) / 2, (height - side) / 2, side, side);
    let to = SIDE as u32;
    Ok(if side == to {
        cut.to_image()
    } else {
        imageops::resize(&*cut, to, to, FilterType::Triangle)
    })
}

/// What the decoder of JPEGs would not say: that the file has four components, or ends early, where
/// it would paint the rest grey.
fn jpeg_fault(bytes: &[u8]) -> Option<&'static str> {
    const CUT: Option<&str> = Some("broken: the file ends early");
    let mut rest = bytes.get(2..)?;
    loop {
        let &[0xff, marker, ..] = rest else { return CUT };
        // Fill bytes may stand before a marker.
        if marker == 0xff {
            rest = &rest[1..];
            continue;
        }
        let length = match rest.get(2..4) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => return CUT,
        };
        let Some(segment) = rest.get(4..2 + length) else { return CUT };
        // Start of a frame: precision, height, width, number of components. C4, C8 and CC are
        // other things.
        let frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if frame && segment.get(5) == Some(&4) {
            return Some("a JPEG of four components (CMYK)");
        }
        rest = &rest[2 + length..];
        // Start of a scan: in its data FF D9 can be nothing but the end.
        if marker == 0xda {
            return if rest.windows(2).any(|w| w == [0xff, 0xd9]) { None } else { CUT };
        }
    }
}

/// The first 16 hexadecimal digits of a SHA-256 over the sets and the names of the classes.
fn content(sets: &Cifar, names: &[String]) -> String {
    let mut hash = Sha256::new();
    hash.update(sets.content_hash());
    for name in names {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
    }
    kd_base::hex(&hash.finalize()[..8])
}

/// What the user has to know.
fn note(dir: &Path, sets: &Cifar, names: &[String], skipped: &[Skipped]) -> Option<String> {
    let mut parts = Vec::new();
    if !skipped.is_empty() {
        let some: Vec<String> = skipped.iter().take(NAMED).map(|s| shown(s, dir)).collect();
        let more = match skipped.len().saturating_sub(NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let all = sets.train.len() + sets.test.len() + skipped.len();
        parts.push(format!("{} of {all} files left out: {}{more}", skipped.len(), some.join(", ")));
    }
    let counts = sets.test.class_counts();
    let bare: Vec<&str> =
        names.iter().zip(&counts).filter(|(_, n)| **n == 0).map(|(name, _)| &**name).collect();
    if !bare.is_empty() {
        parts.push(format!("no test image of {}", bare.join(", ")));
    }
    let text = format!("{}: {}", dir.display(), parts.join("; "));
    (!parts.is_empty()).then(|| message::escaped(text))
}

/// `train/cat/1.png (why)`, the path as seen from `dir`.
fn shown(skipped: &Skipped, dir: &Path) -> String {
    let path = skipped.path.strip_prefix(dir).unwrap_or(&skipped.path);
    format!("{} ({})", path.display(), skipped.why)
}

fn folder(path: &Path, expected: &str, got: impl ToString) -> DataError {
    DataError::Folder {
        path: path.to_path_buf(),
        expected: expected.to_owned(),
        got: got.to_string(),
    }
}
