//! PyTorch checkpoints, written as `torch.save` does, as far as the tests need them.

use std::io::Write;

use candle_core::Tensor;

/// A value of a checkpoint.
pub enum Value {
    Tensor(Tensor),
    /// Three complex zeros.
    Complex,
    None,
    Int(u8),
    Text(&'static str),
    Dict(Vec<(String, Value)>),
}

/// A dictionary of tensors.
pub fn dict(tensors: &[(String, Tensor)]) -> Value {
    Value::Dict(tensors.iter().map(|(n, t)| (n.clone(), Value::Tensor(t.clone()))).collect())
}

/// A dictionary of one entry.
pub fn under(key: &str, value: Value) -> Value {
    Value::Dict(vec![(key.to_owned(), value)])
}

/// The checkpoint as a zip file.
pub fn file(value: &Value) -> Vec<u8> {
    let (mut pickle, mut storages) = (b"\x80\x02".to_vec(), Vec::new());
    write(&mut pickle, &mut storages, value);
    pickle.push(b'.');
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let how =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: &str, bytes: &[u8]| {
        writer.start_file(name, how).expect("an entry");
        writer.write_all(bytes).expect("a write");
    };
    add("net/data.pkl", &pickle);
    for (i, bytes) in storages.iter().enumerate() {
        add(&format!("net/data/{i}"), bytes);
    }
    writer.finish().expect("a zip file").into_inner()
}

fn text(pickle: &mut Vec<u8>, text: &str) {
    pickle.push(b'X');
    pickle.extend((text.len() as u32).to_le_bytes());
    pickle.extend(text.as_bytes());
}

fn int(pickle: &mut Vec<u8>, n: usize) {
    pickle.push(b'J');
    pickle.extend((n as u32).to_le_bytes());
}

fn write(pickle: &mut Vec<u8>, storages: &mut Vec<Vec<u8>>, value: &Value) {
    match value {
        Value::None => pickle.push(b'N'),
        Value::Int(n) => pickle.extend([b'K', *n]),
        Value::Text(t) => text(pickle, t),
        Value::Dict(entries) => {
            pickle.push(b'}');
            for (key, value) in entries {
                text(pickle, key);
                write(pickle, storages, value);
                pickle.push(b's');
            }
        }
        Value::Complex => tensor(pickle, storages, "ComplexFloatStorage", &[3], vec![0; 24]),
        Value::Tensor(t) => {
            let floats = t.flatten_all().and_then(|t| t.to_vec1::<f32>()).expect("floats");
            let bytes = floats.iter().flat_map(|x| x.to_le_bytes()).collect();
            tensor(pickle, storages, "FloatStorage", t.dims(), bytes)
        }
    }
}

fn tensor(
    pickle: &mut Vec<u8>,
    storages: &mut Vec<Vec<u8>>,
    class: &str,
    shape: &[usize],
    bytes: Vec<u8>,
) {
    pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\n");
    pickle.extend(class.as_bytes());
    pickle.push(b'\n');
    text(pickle, &storages.len().to_string());
    text(pickle, "cpu");
    let count = shape.iter().product();
    int(pickle, count);
    pickle.extend(b"tQK\x00(");
    shape.iter().for_each(|side| int(pickle, *side));
    pickle.extend(b"t(");
    let mut stride = count;
    for side in shape {
        stride /= side;
        int(pickle, stride);
    }
    pickle.extend(b"t\x89NtR");
    storages.push(bytes);
}
