//! MNIST's IDX files. The first byte chooses which of the four the input is, and whether it is
//! gzipped; the other three are good.

#![no_main]

use std::sync::OnceLock;

use kd_core::data::mnist::{Mnist, embedded, idx};
use libfuzzer_sys::fuzz_target;

fn good() -> &'static [Vec<u8>; 4] {
    static GOOD: OnceLock<[Vec<u8>; 4]> = OnceLock::new();
    GOOD.get_or_init(|| {
        let Mnist { train, test } =
            embedded::generate(&embedded::Embedded { train: 3, test: 2, seed: 1 });
        [
            idx::encode_images(&train),
            idx::encode_labels(&train),
            idx::encode_images(&test),
            idx::encode_labels(&test),
        ]
    })
}

fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let [images, labels, test_images, test_labels] = good();
    vec![
        ("images", kd_fuzz::chosen(0, images)),
        ("labels", kd_fuzz::chosen(1, labels)),
        ("test-images", kd_fuzz::chosen(2, test_images)),
        ("test-labels", kd_fuzz::chosen(3, test_labels)),
        ("gzipped", kd_fuzz::chosen(5, labels)),
        ("gzip", kd_fuzz::chosen(9, &kd_fuzz::gzip(labels))),
    ]
}

fuzz_target!(init: kd_fuzz::start(seeds), |bytes: &[u8]| kd_fuzz::run(|| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let which = usize::from(choice % 4);
    for (i, (name, good)) in idx::FILES.iter().zip(good()).enumerate() {
        let (plain, gz) = (kd_fuzz::folder().join(name), format!("{name}.gz"));
        if i != which {
            if !plain.exists() {
                kd_fuzz::file(name, good);
            }
            let _ = std::fs::remove_file(kd_fuzz::folder().join(gz));
            continue;
        }
        let _ = std::fs::remove_file(&plain);
        match choice / 4 % 3 {
            0 => kd_fuzz::file(name, bytes),
            1 => kd_fuzz::file(&gz, &kd_fuzz::gzip(bytes)),
            _ => kd_fuzz::file(&gz, bytes),
        };
    }
    if let Ok(mnist) = idx::load_dir(&kd_fuzz::folder()) {
        assert_eq!(mnist.train.images.len(), mnist.train.len() * 784);
        assert!(mnist.train.labels.iter().chain(&mnist.test.labels).all(|&label| label < 10));
    }
    // Another input is another of the files; this one goes back to being good.
    for name in [idx::FILES[which].to_string(), format!("{}.gz", idx::FILES[which])] {
        let _ = std::fs::remove_file(kd_fuzz::folder().join(name));
    }
}));
