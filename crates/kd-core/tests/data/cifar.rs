//! CIFAR from the official files and archives.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kd_core::data::cifar::directory::{self, DirectoryData};
use kd_core::data::cifar::official::{Archive, Format};
use kd_core::data::cifar::{Cifar, CifarRequest, CifarSource, Kind, PIXELS, load};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::allocations::assert_modest;
use crate::cifar_fixtures::{Modern, archive, files, modern_pickle, pickle, pictures, tar, tar_gz};
use crate::fixtures::{gz, message};

const KINDS: [Kind; 2] = [Kind::Cifar10, Kind::Cifar100];

fn write(dir: &Path, files: &[(&'static str, Vec<u8>)]) {
    fs::create_dir_all(dir).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(dir.join(name), bytes).unwrap());
}

#[test]
fn every_archive_is_read_unpacked_and_packed_in_order() {
    for kind in KINDS {
        let cifar = pictures(kind);
        for archive in Archive::of(kind) {
            let dir = TempDir::new().unwrap();
            let [below, itself, packed] =
                ["below", "itself", "packed"].map(|name| dir.path().join(name));
            write(&below.join(archive.folder), &files(archive, &cifar));
            write(&itself, &files(archive, &cifar));
            write(&packed, &[(archive.file, tar_gz(archive, &cifar))]);
            // An archive under another name, its files from the last to the first.
            let mut reversed = files(archive, &cifar);
            reversed.reverse();
            let other = dir.path().join("mine.tgz");
            fs::write(&other, gz(&tar("data/deep", &reversed))).unwrap();
            for (place, found) in [
                (&below, below.join(archive.folder)),
                (&itself, itself.clone()),
                (&packed, packed.join(archive.file)),
                (&packed.join(archive.file), packed.join(archive.file)),
                (&other, other.clone()),
            ] {
                let got = directory::load(kind, place).unwrap();
                assert_eq!((&got.cifar, got.place), (&cifar, found), "{}", place.display());
            }
        }
    }
}

#[test]
fn pickles_of_todays_programs_are_read_as_those_of_the_archives() {
    for kind in KINDS {
        let (cifar, archive) = (pictures(kind), archive(kind, Format::Python));
        for how in [Modern::Latin1, Modern::Buffer, Modern::ByColumns] {
            let dir = TempDir::new().unwrap();
            let mut files = files(archive, &cifar);
            files.last_mut().unwrap().1 = modern_pickle(&cifar.test, how);
            write(dir.path(), &files);
            assert_eq!(directory::load(kind, dir.path()).unwrap().cifar, cifar, "{kind:?} {how:?}");
        }
    }
}

#[test]
fn a_tar_archive_without_gzip_and_one_with_zeros_behind_it_are_read() {
    let (dir, cifar) = (TempDir::new().unwrap(), pictures(Kind::Cifar100));
    let archive = archive(Kind::Cifar100, Format::Binary);
    let plain = tar(archive.folder, &files(archive, &cifar));
    for (name, bytes) in [("padded", [gz(&plain), vec![0; 512]].concat()), ("plain", plain)] {
        let path = dir.path().join(format!("{name}.tar.gz"));
        fs::write(&path, bytes).unwrap();
        assert_eq!(directory::load(Kind::Cifar100, &path).unwrap().cifar, cifar, "{name}");
    }
}

#[test]
fn unpacked_files_are_preferred_to_archives_and_binary_ones_to_pickles() {
    let (dir, cifar) = (TempDir::new().unwrap(), pictures(Kind::Cifar100));
    let [bin, py] = [Format::Binary, Format::Python].map(|f| archive(Kind::Cifar100, f));
    let place = || {
        directory::load(Kind::Cifar100, dir.path())
            .unwrap()
            .place
            .strip_prefix(dir.path())
            .unwrap()
            .to_path_buf()
    };
    write(dir.path(), &[(py.file, tar_gz(py, &cifar))]);
    assert_eq!(place(), Path::new(py.file));
    write(dir.path(), &[(bin.file, tar_gz(bin, &cifar))]);
    assert_eq!(place(), Path::new(bin.file));
    write(&dir.path().join(py.folder), &files(py, &cifar));
    assert_eq!(place(), Path::new(py.folder));
    write(&dir.path().join(bin.folder), &files(bin, &cifar));
    assert_eq!(place(), Path::new(bin.folder));
}

#[test]
fn a_directory_is_said_not_to_be_the_original_and_an_archive_to_have_another_md5() {
    let dir = TempDir::new().unwrap();
    let notes = KINDS.map(|kind| {
        let archive = archive(kind, Format::Binary);
        write(dir.path(), &[(archive.file, tar_gz(archive, &pictures(kind)))]);
        let (cifar, provenance) =
            load(&CifarRequest::new(CifarSource::Cifar(kind), Some(dir.path().to_path_buf())))
                .unwrap();
        assert_eq!(cifar, pictures(kind));
        assert_eq!((provenance.dataset, &provenance.content), (kind.name(), &cifar.content_hash()));
        let (head, tail) =
            provenance.note.as_ref().and_then(|note| note.split_once("MD5 ")).unwrap();
        // Our archive's own hash is the compressor's affair.
        message(format!("{head}MD5 HASH{}", &tail[32..]), dir.path())
    });
    insta::assert_snapshot!(notes.join("\n"), @r"
    DIR/cifar-10-binary.tar.gz: 10 + 4 images that are not the original CIFAR-10 (10 + 4 images); DIR/cifar-10-binary.tar.gz: MD5 HASH, the official cifar-10-binary.tar.gz has c32a1d4ab5d03f1284b67883e8d87530
    DIR/cifar-100-binary.tar.gz: 10 + 4 images that are not the original CIFAR-100 (content 7d45d62367f9923b); DIR/cifar-100-binary.tar.gz: MD5 HASH, the official cifar-100-binary.tar.gz has 03b5dce01913d631647c71ecec9e9cb8
    ");
}

#[test]
fn sources_have_names_and_generated_data_takes_no_directory() {
    for source in [
        CifarSource::Auto,
        CifarSource::Cifar(Kind::Cifar10),
        CifarSource::Cifar(Kind::Cifar100),
        CifarSource::Embedded,
    ] {
        assert_eq!(source.to_string().parse::<CifarSource>().unwrap(), source);
    }
    let error = "mnist".parse::<CifarSource>().unwrap_err();
    assert_eq!(error.to_string(), "data: expected auto, cifar10, cifar100 or embedded, got mnist");
    let error = load(&CifarRequest::new(CifarSource::Embedded, Some("shapes".into()))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "shapes: expected no data directory with generated data, got one"
    );
}

/// Writes an archive's files with one of them changed, unpacked, and returns the message.
fn broken(kind: Kind, format: Format, change: impl Fn(&mut Vec<u8>)) -> String {
    let dir = TempDir::new().unwrap();
    let mut files = files(archive(kind, format), &pictures(kind));
    change(&mut files[0].1);
    write(dir.path(), &files);
    let error = directory::load(kind, dir.path()).map(|_| ()).unwrap_err();
    message(error, dir.path())
}

#[test]
fn each_kind_of_bad_file_has_its_message() {
    use Format::{Binary, Python};
    use Kind::{Cifar10, Cifar100};
    let replace = |bytes: &mut Vec<u8>, from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes.splice(at..at + from.len(), to.iter().copied());
    };
    let messages = [
        broken(Cifar10, Binary, |b| b.truncate(3073 + 5)),
        broken(Cifar100, Binary, |b| b.push(0)),
        broken(Cifar100, Binary, Vec::clear),
        broken(Cifar10, Binary, |b| b[3073] = 10),
        broken(Cifar100, Binary, |b| b[3074] = 20),
        broken(Cifar100, Binary, |b| b[3075] = 100),
        broken(Cifar100, Python, |b| b.truncate(1000)),
        broken(Cifar100, Python, |b| b[0] = b'x'),
        broken(Cifar100, Python, |b| *b = pickle(&pictures(Cifar10).train)),
        broken(Cifar100, Python, |b| replace(b, b"fine_labels](K\x00", b"fine_labels](K\x64")),
        broken(Cifar100, Python, |b| replace(b, b"fine_labels](K\x00", b"fine_labels](")),
        broken(Cifar100, Python, |b| replace(b, b"U\x02u1", b"U\x02f4")),
        broken(Cifar100, Python, |b| replace(b, b"M\x00\x0c", b"M\x00\x0d")),
        broken(Cifar100, Python, |b| replace(b, b"K\x01M\x0a\x00", b"K\x01M\x0b\x00")),
        broken(Cifar100, Python, |b| replace(b, b"U\x04data", b"U\x04dada")),
        broken(Cifar100, Python, |b| replace(b, b"_reconstruct", b"_deconstruct")),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/data_batch_1.bin: expected 6146 bytes of whole records, got 3078
    DIR/train.bin: expected 33814 bytes of whole records, got 30741
    DIR/train.bin: expected CIFAR-100 images, got an empty file
    DIR/data_batch_1.bin: expected labels of 0 to 9, got 10 in row 1
    DIR/train.bin: expected labels of 0 to 19, got 20 in row 1
    DIR/train.bin: expected labels of 0 to 99, got 100 in row 1
    DIR/train: expected a pickle of CIFAR-100 images, got pickle, byte 684: expected 30720 bytes more, got 311
    DIR/train: expected a pickle of CIFAR-100 images (protocol 2 to 5), got another kind of file
    DIR/train: expected a pickle of CIFAR-100 images, got no list or array of numbers coarse_labels
    DIR/train: expected labels of 0 to 99, got 100 in row 0
    DIR/train: expected a pickle of CIFAR-100 images, got 9 fine_labels for 10 images
    DIR/train: expected a pickle of CIFAR-100 images, got an array of type f4, not uint8
    DIR/train: expected a pickle of CIFAR-100 images, got an array of shape [10, 3328], not [n, 3072] with n of 1 to 60000
    DIR/train: expected a pickle of CIFAR-100 images, got more or fewer bytes than an array of [11, 3072] has
    DIR/train: expected a pickle of CIFAR-100 images, got a dictionary of 5 entries without an entry data
    DIR/train: expected a pickle of CIFAR-100 images, got an object of numpy.core.multiarray._deconstruct under data, of another form than an array's
    ");
}

#[test]
fn missing_files_are_named() {
    let dir = TempDir::new().unwrap();
    let missing = |kind| message(directory::load(kind, dir.path()).unwrap_err(), dir.path());
    let mut messages = vec![missing(Kind::Cifar10), missing(Kind::Cifar100)];
    let some = files(archive(Kind::Cifar10, Format::Python), &pictures(Kind::Cifar10));
    write(&dir.path().join("cifar-10-batches-py"), &some[..4]);
    messages.push(missing(Kind::Cifar10));
    let packed = dir.path().join("packed.tar.gz");
    fs::write(&packed, gz(&tar("cifar-10-batches-py", &some[1..]))).unwrap();
    messages.push(message(directory::load(Kind::Cifar10, &packed).unwrap_err(), dir.path()));
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR: CIFAR-10 files not found: cifar-10-binary.tar.gz, cifar-10-python.tar.gz (the official files, their folder or their .tar.gz, binary or python)
    DIR: CIFAR-100 files not found: cifar-100-binary.tar.gz, cifar-100-python.tar.gz (the official files, their folder or their .tar.gz, binary or python)
    DIR: CIFAR-10 files not found: data_batch_5, test_batch (the official files, their folder or their .tar.gz, binary or python)
    DIR/packed.tar.gz: CIFAR-10 files not found: data_batch_1 (in the archive, in any folder of it)
    ");
}

/// The outcome of reading these bytes as an archive of CIFAR-100.
fn packed(bytes: &[u8]) -> Result<Cifar, String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("cifar.tar.gz");
    fs::write(&path, bytes).unwrap();
    directory::load(Kind::Cifar100, &path)
        .map(|found: DirectoryData| found.cifar)
        .map_err(|e| message(e, dir.path()))
}

/// A tar header of an entry that claims `size` bytes.
fn header(name: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn each_kind_of_bad_archive_has_its_message_and_none_asks_for_much_memory() {
    let whole = tar_gz(archive(Kind::Cifar100, Format::Binary), &pictures(Kind::Cifar100));
    let huge = 1 << 40;
    let messages = [
        b"no archive".to_vec(),
        gz(b"no archive"),
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 3].to_vec(),
        gz(&header("cifar-100-binary/train.bin", tar::EntryType::Regular, huge)),
        // Names and extended headers whose length would have to be believed.
        gz(&header("././@LongLink", tar::EntryType::GNULongName, huge)),
        gz(&header("PaxHeaders/train.bin", tar::EntryType::XHeader, huge)),
        // Images without end.
        zeros(&header("test.bin", tar::EntryType::Regular, huge), 3074 * 60_001),
    ]
    .map(|bytes| packed(&bytes).unwrap_err());
    assert_modest();
    insta::assert_snapshot!(messages.join("\n"), @r"
    DIR/cifar.tar.gz: expected a .tar.gz archive of CIFAR-100, got a text
    DIR/cifar.tar.gz: expected a whole .tar.gz archive, got failed to read entire block
    DIR/cifar.tar.gz: expected a whole .tar.gz archive, got incomplete deflate stream
    DIR/cifar.tar.gz: expected a whole .tar.gz archive, got unexpected end of file
    DIR/cifar.tar.gz/train.bin: expected CIFAR-100 images, got an empty file
    DIR/cifar.tar.gz: expected a whole .tar.gz archive, got unexpected EOF during skip
    DIR/cifar.tar.gz: expected a whole .tar.gz archive, got unexpected EOF during skip
    DIR/cifar.tar.gz/test.bin: expected 1 to 60000 images, got 60001
    ");
}

/// A gzip file of these bytes and then `n` zeros.
fn zeros(head: &[u8], n: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(head).unwrap();
    let chunk = vec![0; 1 << 20];
    for start in (0..n).step_by(chunk.len()) {
        encoder.write_all(&chunk[..chunk.len().min(n - start)]).unwrap();
    }
    encoder.finish().unwrap()
}

/// What a reader may do with changed bytes: refuse them, or return a whole and valid data set.
fn valid_or_refused(kind: Kind, place: &Path) {
    if let Ok(DirectoryData { cifar: Cifar { train, test }, .. }) = directory::load(kind, place) {
        for set in [train, test] {
            assert_eq!(set.images.len(), set.len() * PIXELS);
            assert!(set.labels.iter().all(|&l| usize::from(l) < kind.classes()));
            assert_eq!(set.coarse.map(|c| c.labels.len()), kind.groups().map(|_| set.labels.len()));
        }
    }
    assert_modest();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn changed_and_cut_files_never_panic(
        kind in prop::sample::select(&KINDS),
        format in prop::sample::select(&[Format::Binary, Format::Python]),
        // The heads of pickles, where lengths and operations stand, and anywhere.
        changes in prop::collection::vec((prop_oneof![0usize..900, 0usize..30_000], any::<u8>()), 0..6),
        cut in prop::option::of(0usize..31_000),
    ) {
        let (dir, archive) = (TempDir::new().unwrap(), archive(kind, format));
        let mut files = files(archive, &pictures(kind));
        let bytes = &mut files[0].1;
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        write(dir.path(), &files);
        valid_or_refused(kind, dir.path());
    }

    #[test]
    fn changed_and_cut_archives_never_panic(
        format in prop::sample::select(&[Format::Binary, Format::Python]),
        // Bytes of tar headers, before they are compressed, and of the gzip stream.
        headers in prop::collection::vec((0usize..3, 0usize..512, any::<u8>()), 0..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let archive = archive(Kind::Cifar100, format);
        let files = files(archive, &pictures(Kind::Cifar100));
        let mut bytes = tar(archive.folder, &files);
        let starts = files.iter().scan(0, |at, (_, bytes)| {
            let start = *at;
            *at += 512 + bytes.len().next_multiple_of(512);
            Some(start)
        });
        let starts: Vec<usize> = starts.chain([0]).collect();
        for (file, at, value) in headers {
            bytes[starts[file] + at] = value;
        }
        let mut bytes = gz(&bytes);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("cifar.tar.gz");
        fs::write(&path, bytes).unwrap();
        valid_or_refused(Kind::Cifar100, &path);
    }
}
