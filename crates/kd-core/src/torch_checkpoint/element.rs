//! What the elements of PyTorch's storages are.

use candle_core::DType;

use super::value::{Reason, brief};

/// The bytes of one element of a storage class, for all classes that PyTorch has had.
pub fn element_bytes(class: &str) -> Option<usize> {
    Some(match class.strip_prefix("torch.")? {
        "ByteStorage" | "CharStorage" | "BoolStorage" | "QInt8Storage" | "QUInt8Storage" => 1,
        "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
        "FloatStorage" | "IntStorage" | "QInt32Storage" => 4,
        "DoubleStorage" | "LongStorage" | "ComplexFloatStorage" => 8,
        "ComplexDoubleStorage" => 16,
        _ => return None,
    })
}

/// The dtype of a storage class, where Candle has it.
pub fn dtype(class: &str) -> Result<DType, Reason> {
    Ok(
        match class
            .strip_prefix("torch.")
            .and_then(|c| c.strip_suffix("Storage"))
            .unwrap_or_default()
        {
            "Float" => DType::F32,
            "Double" => DType::F64,
            "Half" => DType::F16,
            "BFloat16" => DType::BF16,
            "Long" => DType::I64,
            "Int" => DType::I32,
            "Short" => DType::I16,
            "Byte" | "Bool" => DType::U8,
            _ => {
                return Err(format!(
                    "expected numbers of a type that Candle has (float, int or byte), got {}",
                    brief(class)
                ));
            }
        },
    )
}
