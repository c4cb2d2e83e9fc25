//! Operations of a strong view against Pillow's results in `../golden/rand_augment.json`, which
//! `scripts/oracles/rand_augment.py` writes.

use kd_core::data::rand_augment::Operation;
use serde_json::Value;

#[test]
fn every_operation_gives_pillows_bytes() {
    let golden: Value = serde_json::from_str(include_str!("../golden/rand_augment.json"))
        .expect("the golden file is JSON");
    let size = |name: &str| golden[name].as_u64().expect("a size") as usize;
    let (rows, cols) = (size("rows"), size("cols"));
    let image: Vec<u8> =
        (0..3 * rows * cols).map(|i| ((31 * i * i + 97 * i + 13) % 251) as u8).collect();
    let mut seen = Vec::new();
    for case in golden["cases"].as_array().expect("cases") {
        let (name, strength) = (&case["operation"], case["strength"].as_f64().expect("a number"));
        let operation = Operation::ALL
            .into_iter()
            .find(|operation| format!("{operation:?}") == name.as_str().expect("a name"))
            .expect("an operation");
        // Stretching needs an image that does not have all values.
        let narrow = |v: &u8| 40 + v / 2;
        let mut made: Vec<u8> = match operation {
            Operation::AutoContrast => image.iter().map(narrow).collect(),
            _ => image.clone(),
        };
        operation.apply(&mut made, (rows, cols), strength).expect("an image");
        let expected = case["image"].as_str().expect("bytes");
        let byte = |i: usize| u8::from_str_radix(&expected[2 * i..2 * i + 2], 16).expect("a byte");
        let other: Vec<usize> = (0..made.len()).filter(|&i| made[i] != byte(i)).collect();
        assert!(
            expected.len() == 2 * made.len() && other.is_empty(),
            "{name} at {strength}: {} bytes differ, the first at {:?}",
            other.len(),
            other.first()
        );
        if !seen.contains(&operation) {
            seen.push(operation);
        }
        assert_eq!(made == image, operation == Operation::Identity, "{name} at {strength}");
    }
    assert_eq!(seen, Operation::ALL);
}
