//! Reads published vectors from the folder in `CONSILIUM_SHARED`, or from
//! `shared` beside the workspace. They are never copied into the project.

use std::path::PathBuf;

/// The parsed file, or `None` (with a line on stderr) when it is not there.
pub(crate) fn vectors(name: &str) -> Option<serde_json::Value> {
    let shared = std::env::var_os("CONSILIUM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = shared.join("vectors").join(name);
    let Ok(content) = std::fs::read(&path) else {
        eprintln!("SKIPPED: vectors absent at {}", path.display());
        return None;
    };
    Some(serde_json::from_slice(&content).unwrap())
}

/// A JSON string.
pub(crate) fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap()
}

/// A JSON string of hexadecimal digits.
pub(crate) fn bytes(value: &serde_json::Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

/// Well-formed base64 of either alphabet, padded or not.
pub(crate) fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for symbol in text.trim_end_matches('=').replace('+', "-").replace('/', "_").chars() {
        bits = bits << 6 | ALPHABET.find(symbol).unwrap() as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}
