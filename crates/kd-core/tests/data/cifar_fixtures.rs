//! Small sets of CIFAR's form, and their files.

use std::io::Cursor;

use kd_core::Seed;
use kd_core::data::cifar::official::{Archive, Format};
use kd_core::data::cifar::{Cifar, Kind, PIXELS, binary};
use kd_core::data::{CoarseLabels, LabelledImages};

use crate::fixtures::{HUB, Layout, Row, gz, parquet_rows};

/// 10 training and 4 test images of random pixels; the group of a class is a fifth of it.
pub fn pictures(kind: Kind) -> Cifar {
    Cifar { train: set(kind, 0, 10), test: set(kind, 1, 4) }
}

fn set(kind: Kind, purpose: usize, n: usize) -> LabelledImages {
    let stream = Seed(3).stream("pictures", purpose, 0);
    let images = (0..n * PIXELS).map(|i| stream.u32_at(i as u64) as u8).collect();
    let labels: Vec<u8> = (0..n).map(|i| (i * 37 % kind.classes()) as u8).collect();
    let coarse = kind
        .groups()
        .map(|classes| CoarseLabels { labels: labels.iter().map(|l| l / 5).collect(), classes });
    LabelledImages {
        images,
        labels,
        coarse,
        channels: 3,
        rows: 32,
        cols: 32,
        classes: kind.classes(),
    }
}

/// The official archive of this kind and format.
pub fn archive(kind: Kind, format: Format) -> Archive {
    Archive::of(kind).find(|a| a.format == format).unwrap()
}

/// The names and bytes of an archive's files, the training set spread evenly over those it has.
pub fn files(archive: Archive, cifar: &Cifar) -> Vec<(&'static str, Vec<u8>)> {
    let encode = |set: &LabelledImages| match archive.format {
        Format::Binary => binary::encode(set),
        Format::Python => pickle(set),
    };
    let each = cifar.train.len() / archive.train.len();
    let part = |i: usize| {
        cifar.train.subset(&(0..each).map(|r| (i * each + r) as u32).collect::<Vec<_>>()).unwrap()
    };
    let train = archive.train.iter().enumerate().map(|(i, &name)| (name, encode(&part(i))));
    train.chain([(archive.test, encode(&cifar.test))]).collect()
}

/// Files in a folder as a tar archive, with a file beside them that is none of CIFAR's.
pub fn tar(folder: &str, files: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in
        files.iter().map(|(n, b)| (*n, &b[..])).chain([("readme.html", &b"<html>"[..])])
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, format!("{folder}/{name}"), bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The same, gzipped.
pub fn tar_gz(archive: Archive, cifar: &Cifar) -> Vec<u8> {
    gz(&tar(archive.folder, &files(archive, cifar)))
}

/// A set as Python 2 pickled it for the official archives, operation for operation.
pub fn pickle(set: &LabelledImages) -> Vec<u8> {
    let mut p = Vec::new();
    p.extend(b"\x80\x02}q\x01(");
    text(&mut p, "filenames");
    p.extend(b"]q\x02(");
    for i in 0..set.len() {
        text(&mut p, &format!("leptodactylus_pentadactylus_s_{i:06}.png"));
    }
    p.push(b'e');
    text(&mut p, "batch_label");
    text(&mut p, "training batch 1 of 5");
    let lists = match &set.coarse {
        Some(coarse) => vec![("fine_labels", &set.labels), ("coarse_labels", &coarse.labels)],
        None => vec![("labels", &set.labels)],
    };
    for (key, labels) in lists {
        text(&mut p, key);
        p.extend(b"](");
        labels.iter().for_each(|&l| p.extend([b'K', l]));
        p.push(b'e');
    }
    text(&mut p, "data");
    p.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01M");
    p.extend((set.len() as u16).to_le_bytes());
    p.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    p.extend((set.images.len() as u32).to_le_bytes());
    p.extend(&set.images);
    p.extend(b"tbu.");
    p
}

/// How a program of today pickles a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modern {
    /// Protocol 2, in which bytes are a string to be encoded as Latin-1.
    Latin1,
    /// Protocol 5, with the array's bytes in a `_frombuffer`.
    Buffer,
    /// The same, column by column.
    ByColumns,
}

/// A set as Python 3 and NumPy 2 pickle it: keys of bytes, and labels as an array of `int64`.
pub fn modern_pickle(set: &LabelledImages, how: Modern) -> Vec<u8> {
    let mut p = b"\x80\x05}(".to_vec();
    let dtype = |p: &mut Vec<u8>, name: &str, order: &str| {
        p.extend(b"cnumpy\ndtype\n");
        text(p, name);
        p.extend(b"\x89\x88\x87R(K\x03");
        text(p, order);
        p.extend(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb");
    };
    let bytes = |p: &mut Vec<u8>, bytes: &[u8]| {
        p.push(b'B');
        p.extend((bytes.len() as u32).to_le_bytes());
        p.extend(bytes);
    };
    let key = |p: &mut Vec<u8>, key: &str| {
        p.extend([b'C', key.len() as u8]);
        p.extend(key.as_bytes());
    };
    let lists = match &set.coarse {
        Some(coarse) => vec![("fine_labels", &set.labels), ("coarse_labels", &coarse.labels)],
        None => vec![("labels", &set.labels)],
    };
    for (name, labels) in lists {
        key(&mut p, name);
        if how == Modern::Latin1 {
            // A list of NumPy's numbers.
            p.extend(b"](");
            for &label in labels {
                p.extend(b"cnumpy._core.multiarray\nscalar\n");
                dtype(&mut p, "i8", "<");
                bytes(&mut p, &u64::from(label).to_le_bytes());
                p.extend(b"\x86R");
            }
            p.push(b'e');
            continue;
        }
        p.extend(b"cnumpy._core.numeric\n_frombuffer\n(");
        bytes(&mut p, &labels.iter().flat_map(|&l| u64::from(l).to_be_bytes()).collect::<Vec<_>>());
        dtype(&mut p, "i8", ">");
        p.extend([b'K', labels.len() as u8, 0x85]);
        text(&mut p, "C");
        p.extend(b"tR");
    }
    key(&mut p, "data");
    let shape = |p: &mut Vec<u8>| p.extend([b'K', set.len() as u8, b'M', 0, 12, 0x86]);
    if how == Modern::Latin1 {
        p.extend(b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85");
        key(&mut p, "b");
        p.extend(b"\x87R(K\x01");
        shape(&mut p);
        dtype(&mut p, "u1", "|");
        p.extend(b"\x89c_codecs\nencode\n");
        let latin: String = set.images.iter().map(|&b| char::from(b)).collect();
        p.push(b'X');
        p.extend((latin.len() as u32).to_le_bytes());
        p.extend(latin.as_bytes());
        text(&mut p, "latin1");
        p.extend(b"\x86Rtb");
    } else {
        let (mut pixels, n) = (set.images.clone(), set.len());
        if how == Modern::ByColumns {
            pixels = (0..PIXELS * n).map(|i| set.images[i % n * PIXELS + i / n]).collect();
        }
        p.extend(b"cnumpy._core.numeric\n_frombuffer\n(\x96");
        p.extend((pixels.len() as u64).to_le_bytes());
        p.extend(&pixels);
        dtype(&mut p, "u1", "|");
        shape(&mut p);
        text(&mut p, if how == Modern::ByColumns { "F" } else { "C" });
        p.extend(b"tR");
    }
    p.extend(b"u.");
    p
}

fn text(p: &mut Vec<u8>, text: &str) {
    p.extend([b'U', text.len() as u8]);
    p.extend(text.as_bytes());
}

/// Planes as a PNG, pixel by pixel.
pub fn colour_png(planes: &[u8], cols: u32, rows: u32) -> Vec<u8> {
    let (mut image, plane) = (image::RgbImage::new(cols, rows), (rows * cols) as usize);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let at = (y * cols + x) as usize;
        *pixel = image::Rgb([planes[at], planes[plane + at], planes[2 * plane + at]]);
    }
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, image::ImageFormat::Png).unwrap();
    out.into_inner()
}

/// The rows of a set.
pub fn colour_rows(set: &LabelledImages) -> Vec<Row> {
    let images = set.images.chunks_exact(PIXELS).zip(&set.labels);
    images.map(|(image, &label)| (Some(colour_png(image, 32, 32)), i64::from(label))).collect()
}

/// How the hub writes this kind.
pub fn layout(kind: Kind) -> Layout {
    let schema = match kind {
        Kind::Cifar10 => {
            "message schema { optional group img { optional binary bytes; optional binary path (UTF8); } optional int64 label; }"
        }
        Kind::Cifar100 => {
            "message schema { optional group img { optional binary bytes; optional binary path (UTF8); } \
             optional int64 fine_label; optional int64 coarse_label; }"
        }
    };
    Layout { schema, group_rows: 4, ..HUB }
}

/// A set as the hub's Parquet.
pub fn colour_parquet(kind: Kind, set: &LabelledImages) -> Vec<u8> {
    parquet_rows(&colour_rows(set), &layout(kind))
}
