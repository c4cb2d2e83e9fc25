//! CIFAR's files: pickles and binary records, alone and in an archive. The first byte chooses.

#![no_main]

use kd_core::data::cifar::{Kind, PIXELS, archive, binary, python};
use kd_core::data::{DataError, LabelledImages};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

const KINDS: [Kind; 2] = [Kind::Cifar10, Kind::Cifar100];

/// A pickle of one grey image, in the operations of the official files.
fn pickle(kind: Kind) -> Vec<u8> {
    fn text(p: &mut Vec<u8>, text: &str) {
        p.extend([b'U', text.len() as u8]);
        p.extend(text.as_bytes());
    }
    let mut p = b"\x80\x02}q\x01(".to_vec();
    text(&mut p, "batch_label");
    text(&mut p, "training batch 1 of 5");
    let lists: &[&str] = match kind {
        Kind::Cifar10 => &["labels"],
        Kind::Cifar100 => &["fine_labels", "coarse_labels"],
    };
    for list in lists {
        text(&mut p, list);
        p.extend(b"](K\x01e");
    }
    text(&mut p, "data");
    p.extend(b"cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x01");
    p.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    p.extend((PIXELS as u32).to_le_bytes());
    p.extend([0x80; PIXELS]);
    p.extend(b"tbu.");
    p
}

fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &bytes[..]).expect("memory");
    }
    builder.into_inner().expect("memory")
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let record = |labels: &[u8]| [labels, &[7; PIXELS]].concat();
    let both = |bytes: &[u8]| [("d/train.bin", bytes.to_vec()), ("d/test.bin", bytes.to_vec())];
    vec![
        ("pickle-10", kd_fuzz::chosen(0, &pickle(Kind::Cifar10))),
        ("pickle-100", kd_fuzz::chosen(1, &pickle(Kind::Cifar100))),
        ("binary-10", kd_fuzz::chosen(2, &record(&[3]))),
        ("binary-100", kd_fuzz::chosen(3, &record(&[3, 17]))),
        ("archive-100", kd_fuzz::chosen(5, &tar(&both(&record(&[3, 17]))))),
    ]
}

fn check(set: &LabelledImages) {
    assert_eq!(set.images.len(), set.len() * PIXELS);
    assert!(set.labels.iter().all(|&label| usize::from(label) < set.classes));
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let (kind, path) = (KINDS[usize::from(choice % 2)], Path::new("input"));
    let fault = |source| DataError::Io { path: path.to_path_buf(), source };
    let mut reader = bytes;
    let read = match choice / 2 % 3 {
        0 => python::read(kind, &mut reader, path, &fault),
        1 => binary::read(kind, &mut reader, path, &fault),
        _ => archive::read(kind, &kd_fuzz::file("input.tar.gz", &kd_fuzz::gzip(bytes)))
            .map(|(cifar, _)| cifar.train),
    };
    if let Ok(set) = read {
        check(&set);
    }
}));
