//! Against the real MNIST, where it is on this machine; otherwise these tests say that they were skipped.

use kd_core::data::hub::Hub;
use kd_core::data::mnist::{Mnist, hub, idx};
use md5::{Digest, Md5};

fn real() -> Option<Mnist> {
    let files = Hub::from_env().cached(&hub::REPO).unwrap();
    if files.is_none() {
        eprintln!("skipped: ylecun/mnist is not in the Hugging Face cache (HF_HOME)");
    }
    files.map(|files| hub::read(&files, Some(Mnist::CONTENT)).unwrap())
}

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_hub_files_are_the_original_idx_files_byte_for_byte() {
    let Some(mnist) = real() else { return };
    // Checksums of the four files of 1998, uncompressed.
    assert_eq!(md5(&idx::encode_images(&mnist.train)), "6bbc9ace898e44ae57da46a324031adb");
    assert_eq!(md5(&idx::encode_labels(&mnist.train)), "a25bea736e30d166cdddb491f175f624");
    assert_eq!(md5(&idx::encode_images(&mnist.test)), "2646ac647ad5339dbf082846283269ea");
    assert_eq!(md5(&idx::encode_labels(&mnist.test)), "27ae3e4e09519cfbb04c329615203637");
    assert_eq!(mnist.content_hash(), Mnist::CONTENT);
}
