//! Bytes as text.

/// Two lower-case hexadecimal digits for each byte, as hashes are written.
///
/// ```
/// assert_eq!(kd_base::hex(&[0x0f, 0xa0]), "0fa0");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
