//! Against the real MNIST and CIFAR-100. The tests are ignored unless they are asked for, because
//! they need both in the Hugging Face cache: `cargo test -p kd-core --test data -- --ignored`.

use kd_core::data::cifar::{self, Kind, PIXELS};
use kd_core::data::hub::{Files, Hub, Repo};
use kd_core::data::mnist::{Mnist, hub, idx};
use md5::{Digest, Md5};

fn cached(repo: &Repo) -> Files {
    let files = Hub::from_env().cached(repo).unwrap();
    files.unwrap_or_else(|| panic!("{repo:?} is not in the Hugging Face cache (HF_HOME)"))
}

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[ignore = "needs MNIST in the Hugging Face cache"]
fn the_hub_files_are_the_original_idx_files_byte_for_byte() {
    let mnist = hub::read(&cached(&hub::REPO), Some(Mnist::CONTENT)).unwrap();
    // Checksums of the four files of 1998, uncompressed.
    assert_eq!(md5(&idx::encode_images(&mnist.train)), "6bbc9ace898e44ae57da46a324031adb");
    assert_eq!(md5(&idx::encode_labels(&mnist.train)), "a25bea736e30d166cdddb491f175f624");
    assert_eq!(md5(&idx::encode_images(&mnist.test)), "2646ac647ad5339dbf082846283269ea");
    assert_eq!(md5(&idx::encode_labels(&mnist.test)), "27ae3e4e09519cfbb04c329615203637");
    assert_eq!(mnist.content_hash(), Mnist::CONTENT);
}

#[test]
#[ignore = "needs CIFAR-100 in the Hugging Face cache"]
fn the_hub_tables_of_cifar_100_are_the_original_in_content_statistics_and_groups() {
    let kind = Kind::Cifar100;
    // The content hash is that of the same images decoded by Pillow, heights and widths in its
    // order.
    let cifar = cifar::hub::read(kind, &cached(&kind.repo()), true).unwrap();
    assert_eq!(
        (cifar.train.class_counts(), cifar.test.class_counts()),
        (vec![500; 100], vec![100; 100])
    );
    let groups = cifar.train.coarse.as_ref().unwrap();
    let mut group_of = [None; 100];
    for (&fine, &group) in cifar.train.labels.iter().zip(&groups.labels) {
        assert_eq!(*group_of[usize::from(fine)].get_or_insert(group), group);
    }
    assert!((0..20).all(|g| group_of.iter().filter(|&&of| of == Some(g)).count() == 5));
    // RepDistiller's means, which are those of the training set to four digits.
    for (c, expected) in [0.5071, 0.4867, 0.4408].into_iter().enumerate() {
        let plane = PIXELS / 3;
        let sum: u64 = cifar
            .train
            .images
            .chunks_exact(plane)
            .skip(c)
            .step_by(3)
            .flatten()
            .map(|&p| u64::from(p))
            .sum();
        let mean = sum as f64 / 255.0 / (50_000 * plane) as f64;
        assert!((mean - expected).abs() < 2e-4, "{c}: {mean}");
    }
}
