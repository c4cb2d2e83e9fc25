//! What the fuzz targets share: seeds, files for readers that take paths, and panics.

use std::cell::OnceCell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// What the last panic said, and where.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

/// Writes the seeds to the corpus folder on the command line, if that is empty, and lets panics
/// unwind.
///
/// libfuzzer-sys ends the process in the panic hook. But the readers of Parquet tables catch the
/// panics of the `parquet` crate, which are no finding. So the hook only takes notes here, and
/// [`run`] ends the process where a panic comes out of a reader.
pub fn start(seeds: impl FnOnce() -> Vec<(&'static str, Vec<u8>)>) {
    set_hook(Box::new(|info| {
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = info.to_string();
        }
    }));
    let corpus = std::env::args().skip(1).find(|a| !a.starts_with('-')).map(PathBuf::from);
    let Some(corpus) = corpus.filter(|path| is_empty_folder(path)) else { return };
    for (name, bytes) in seeds() {
        std::fs::write(corpus.join(name), bytes).expect("a writable corpus folder");
    }
}

fn is_empty_folder(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Runs a target on one input. A panic is printed and ends the process, which libFuzzer reports.
pub fn run(target: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(target)).is_err() {
        eprintln!("{}", LAST_PANIC.lock().map(|last| last.clone()).unwrap_or_default());
        std::process::abort();
    }
}

thread_local! {
    static FOLDER: OnceCell<PathBuf> = const { OnceCell::new() };
}

/// The folder of this process's files: in memory, where the system has such a place.
pub fn folder() -> PathBuf {
    FOLDER.with(|folder| {
        folder
            .get_or_init(|| {
                let memory = Path::new("/dev/shm");
                let root =
                    if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
                let folder = root.join(format!("kd-fuzz-{}", std::process::id()));
                std::fs::create_dir_all(&folder).expect("a folder for the inputs");
                folder
            })
            .clone()
    })
}

/// Writes an input as a file for a reader that takes a path.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, bytes).expect("room for the input");
    path
}

/// `bytes` as a gzip file, stored as they are: mutated input reaches the reader behind the checksum.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(bytes).expect("memory for the input");
    encoder.finish().expect("memory for the input")
}

/// A seed behind the byte that chooses the reader.
pub fn chosen(reader: u8, bytes: &[u8]) -> Vec<u8> {
    [&[reader], bytes].concat()
}
