use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use kd_core::data::DataError;
use kd_core::data::hub::Hub;
use kd_core::data::mnist::{MnistRequest, MnistSource, load};
use tempfile::TempDir;

use crate::fixtures::{digits, message, parquet};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hub(cache: &Path, endpoint: &str) -> Hub {
    Hub {
        cache: Some(cache.to_path_buf()),
        endpoint: Some(endpoint.to_string()),
        offline: false,
        patience: Duration::from_secs(10),
    }
}

fn request(source: MnistSource, hub: Hub) -> MnistRequest {
    let mut request = MnistRequest {
        hub,
        content: Some(digits().content_hash()),
        ..MnistRequest::new(source, None)
    };
    (request.embedded.train, request.embedded.test) = (20, 10);
    request
}

/// A cache as the hub's clients lay it out.
fn fill(cache: &Path) {
    let repo = cache.join("datasets--ylecun--mnist");
    fs::create_dir_all(repo.join("refs/refs/convert")).unwrap();
    fs::write(repo.join("refs/refs/convert/parquet"), COMMIT).unwrap();
    for (set, bytes) in [("train", parquet(&digits().train)), ("test", parquet(&digits().test))] {
        let dir = repo.join("snapshots").join(COMMIT).join("mnist").join(set);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("0000.parquet"), bytes).unwrap();
    }
}

/// How far a server goes.
#[derive(Clone, Copy, PartialEq)]
enum Serves {
    Everything,
    Nothing,
    HalfOfEachFile,
    Errors,
    /// The login page of a network in place of each file.
    Pages,
    /// The same in place of the test set alone.
    PageOfTestSet,
}

const PAGE: &[u8] = b"<html>log in to the network</html>";

/// A server on this machine for as many connections as come; its thread ends with the test program.
fn server(serves: Serves) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().flatten() {
            match serves {
                Serves::Nothing => silent.push(stream),
                _ => silent.extend(answer(stream, serves)),
            }
        }
    });
    address
}

/// Answers one request; returns the connection if it is to stay open.
fn answer(mut stream: TcpStream, serves: Serves) -> Option<TcpStream> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request).unwrap() > 0 {}
    let train = request.contains("train");
    let is_page = serves == Serves::Pages || (serves == Serves::PageOfTestSet && !train);
    let set = if train { digits().train } else { digits().test };
    let body = if is_page { PAGE.to_vec() } else { parquet(&set) };
    let (tag, n) = (train.to_string(), body.len());
    // What stands in between may repeat the headers of what it hides, or not.
    let (tag, commit) =
        if is_page { ("a".repeat(64), "b".repeat(40)) } else { (tag, COMMIT.into()) };
    let status = if serves == Serves::Errors { "503 Service Unavailable" } else { "200 OK" };
    let head = format!(
        "HTTP/1.1 {status}\r\nETag: \"{tag}\"\r\nX-Repo-Commit: {commit}\r\nContent-Length: {n}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    if request.starts_with("GET") {
        let sent = if serves == Serves::HalfOfEachFile { n / 2 } else { n };
        stream.write_all(&body[..sent]).unwrap();
        return (sent < n).then_some(stream);
    }
    None
}

#[test]
fn a_cached_data_set_needs_no_server() {
    let cache = TempDir::new().unwrap();
    fill(cache.path());
    for source in [MnistSource::Auto, MnistSource::Mnist] {
        let offline = Hub { offline: true, ..hub(cache.path(), "http://127.0.0.1:1") };
        let (mnist, provenance) = load(&request(source, offline)).unwrap();
        assert_eq!(mnist, digits());
        assert_eq!((provenance.dataset, provenance.note), ("mnist", None));
        assert!(provenance.found.ends_with("mnist/train/0000.parquet"));
    }
}

#[test]
fn the_cache_of_pythons_datasets_on_the_branch_main_is_found() {
    let cache = TempDir::new().unwrap();
    let repo = cache.path().join("datasets--ylecun--mnist");
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    let dir = repo.join("snapshots").join(COMMIT).join("mnist");
    fs::create_dir_all(&dir).unwrap();
    for (set, bytes) in [("train", parquet(&digits().train)), ("test", parquet(&digits().test))] {
        fs::write(dir.join(format!("{set}-00000-of-00001.parquet")), bytes).unwrap();
    }
    let offline = Hub { offline: true, ..hub(cache.path(), "http://127.0.0.1:1") };
    let (mnist, provenance) = load(&request(MnistSource::Mnist, offline.clone())).unwrap();
    assert_eq!((mnist, provenance.note), (digits(), None));
    // The conversions come first where both are there.
    fill(cache.path());
    let (_, provenance) = load(&request(MnistSource::Mnist, offline)).unwrap();
    assert!(provenance.found.ends_with("mnist/train/0000.parquet"), "{}", provenance.found);
}

#[test]
fn a_server_is_asked_once_and_its_files_stay_in_the_cache() {
    let cache = TempDir::new().unwrap();
    let (mnist, provenance) =
        load(&request(MnistSource::Mnist, hub(cache.path(), &server(Serves::Everything)))).unwrap();
    assert_eq!((mnist, provenance.note), (digits(), None));
    assert_eq!(
        load(&request(MnistSource::Mnist, hub(cache.path(), "http://127.0.0.1:1"))).unwrap().0,
        digits()
    );
}

#[test]
fn without_a_server_auto_generates_and_says_so_and_mnist_fails() {
    let cache = TempDir::new().unwrap();
    let nowhere = || hub(cache.path(), "http://127.0.0.1:1");
    let (mnist, provenance) = load(&request(MnistSource::Auto, nowhere())).unwrap();
    assert_eq!((mnist.train.len(), mnist.test.len(), provenance.dataset), (20, 10, "embedded"));
    assert_eq!(provenance.found, "generated: 20 + 10 digits, seed 0");
    let error = load(&request(MnistSource::Mnist, nowhere())).unwrap_err();
    assert!(matches!(error, DataError::Unreachable { .. }));
    // The number of the system's error differs between systems.
    let note = provenance.note.unwrap();
    let why = "ylecun/mnist: not in the Hugging Face cache and not downloaded from http://127.0.0.1:1: client error (Connect): ";
    assert!(note.starts_with(why) && note.contains("refused"), "{note}");
    assert_eq!(
        note,
        format!("{error}; using generated digits instead, whose results are not MNIST's")
    );
}

#[test]
fn offline_means_no_connection() {
    let cache = TempDir::new().unwrap();
    let offline = Hub { offline: true, ..hub(cache.path(), &server(Serves::Everything)) };
    let error = load(&request(MnistSource::Mnist, offline.clone())).unwrap_err().to_string();
    assert!(error.ends_with("HF_HUB_OFFLINE is set"), "{error}");
    assert_eq!(load(&request(MnistSource::Auto, offline)).unwrap().1.dataset, "embedded");
}

#[test]
fn a_server_that_stays_silent_or_stops_halfway_is_given_up() {
    for (serves, reason) in [
        (Serves::Nothing, "no answer within 0 s"),
        (Serves::HalfOfEachFile, "no more data for 0 s after"),
    ] {
        let cache = TempDir::new().unwrap();
        let started = Instant::now();
        let hub =
            Hub { patience: Duration::from_millis(400), ..hub(cache.path(), &server(serves)) };
        let error = load(&request(MnistSource::Mnist, hub)).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_server_in_trouble_counts_as_no_server() {
    let cache = TempDir::new().unwrap();
    let error =
        load(&request(MnistSource::Mnist, hub(cache.path(), &server(Serves::Errors)))).unwrap_err();
    assert!(
        matches!(&error, DataError::Unreachable { reason, .. } if reason.contains("503")),
        "{error}"
    );
}

/// The files of a cache that hold a page.
fn pages(dir: &Path) -> usize {
    let holds = |entry: fs::DirEntry| match entry.path() {
        path if path.is_dir() => pages(&path),
        path => usize::from(fs::read(path).is_ok_and(|bytes| bytes == PAGE)),
    };
    fs::read_dir(dir).unwrap().flatten().map(holds).sum()
}

#[test]
fn a_page_in_place_of_a_file_is_not_kept() {
    for (serves, part) in [(Serves::Pages, "train"), (Serves::PageOfTestSet, "test")] {
        let cache = TempDir::new().unwrap();
        let portal = hub(cache.path(), &server(serves));
        let error = load(&request(MnistSource::Mnist, portal.clone())).unwrap_err();
        assert!(matches!(error, DataError::Unreachable { .. }), "{error}");
        let expected = format!(
            ": mnist/{part}/0000.parquet was not kept: expected a Parquet file, got a page of HTML or XML"
        );
        assert!(error.to_string().ends_with(&expected), "{error}");
        assert_eq!(pages(cache.path()), 0);
        let provenance = load(&request(MnistSource::Auto, portal)).unwrap().1;
        assert_eq!(provenance.dataset, "embedded");
        assert!(provenance.note.unwrap().contains("was not kept"));
        let honest = hub(cache.path(), &server(Serves::Everything));
        assert_eq!(load(&request(MnistSource::Mnist, honest)).unwrap().0, digits());
        let nowhere = hub(cache.path(), "http://127.0.0.1:1");
        assert_eq!(load(&request(MnistSource::Mnist, nowhere)).unwrap().0, digits());
    }
}

#[test]
fn a_page_in_place_of_one_file_leaves_the_other_where_the_branch_finds_it() {
    let cache = TempDir::new().unwrap();
    fill(cache.path());
    let repo = cache.path().join("datasets--ylecun--mnist");
    let test = repo.join("snapshots").join(COMMIT).join("mnist/test/0000.parquet");
    let kept = fs::read(&test).unwrap();
    fs::remove_file(&test).unwrap();
    let portal = hub(cache.path(), &server(Serves::Pages));
    load(&request(MnistSource::Mnist, portal)).unwrap_err();
    fs::write(&test, kept).unwrap();
    let nowhere = hub(cache.path(), "http://127.0.0.1:1");
    assert_eq!(load(&request(MnistSource::Mnist, nowhere)).unwrap().0, digits());
}

#[test]
fn a_page_that_lies_in_the_cache_is_named_with_the_folder_to_delete() {
    let cache = TempDir::new().unwrap();
    fill(cache.path());
    let repo = cache.path().join("datasets--ylecun--mnist");
    fs::write(repo.join("snapshots").join(COMMIT).join("mnist/test/0000.parquet"), PAGE).unwrap();
    let honest = hub(cache.path(), &server(Serves::Everything));
    for source in [MnistSource::Auto, MnistSource::Mnist] {
        let error = load(&request(source, honest.clone())).unwrap_err();
        assert!(kd_core::Error::from(error).is_bad_input());
    }
    let error = load(&request(MnistSource::Mnist, honest.clone())).unwrap_err();
    insta::assert_snapshot!(message(error, cache.path()), @"DIR/datasets--ylecun--mnist/snapshots/0123456789abcdef0123456789abcdef01234567/mnist/test/0000.parquet: expected a Parquet file, got a page of HTML or XML; delete DIR/datasets--ylecun--mnist, and it is downloaded again");
    fs::remove_dir_all(repo).unwrap();
    assert_eq!(load(&request(MnistSource::Mnist, honest)).unwrap().0, digits());
}

#[test]
fn a_corrupt_or_foreign_cache_is_an_error_even_for_auto() {
    let cache = TempDir::new().unwrap();
    fill(cache.path());
    let nowhere = hub(cache.path(), "http://127.0.0.1:1");
    let foreign = MnistRequest {
        content: Some("0000000000000000".to_string()),
        ..request(MnistSource::Auto, nowhere.clone())
    };
    let foreign = message(load(&foreign).unwrap_err(), cache.path());
    let file = cache
        .path()
        .join("datasets--ylecun--mnist/snapshots")
        .join(COMMIT)
        .join("mnist/test/0000.parquet");
    fs::write(file, b"PAR1 and no more").unwrap();
    let corrupt = message(load(&request(MnistSource::Auto, nowhere)).unwrap_err(), cache.path());
    insta::assert_snapshot!([foreign, corrupt].join("\n"), @r"
    DIR/datasets--ylecun--mnist/snapshots/0123456789abcdef0123456789abcdef01234567/mnist/train/0000.parquet: expected the images and labels of MNIST (content 0000000000000000), got content 8f29d857f6689b4b; delete DIR/datasets--ylecun--mnist, and it is downloaded again
    DIR/datasets--ylecun--mnist/snapshots/0123456789abcdef0123456789abcdef01234567/mnist/test/0000.parquet: expected a Parquet file, got one that is cut off; delete DIR/datasets--ylecun--mnist, and it is downloaded again
    ");
}
