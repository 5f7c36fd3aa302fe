//! Public keys as JSON Web Keys (RFC 7517), for other people's tools: P-256 as RFC 7518
//! says, Ed25519 as RFC 8037. The `kid` is that of COSE receipts in base64url: the
//! thumbprint of RFC 9679.

use consilium_proto::signing::{SignatureAlgorithm, VerifyingKey};
use serde::Serialize;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// `EC` or `OKP`.
    pub kty: &'static str,
    /// `P-256` or `Ed25519`.
    pub crv: &'static str,
    /// First coordinate, or the whole key.
    pub x: String,
    /// Second coordinate, of `EC` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// `ES256` or `EdDSA`.
    pub alg: &'static str,
    /// `sig`.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// Base64url of the `kid` in COSE objects.
    pub kid: String,
}

/// A set of keys (RFC 7517, section 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JwkSet {
    /// The keys.
    pub keys: Vec<Jwk>,
}

impl From<&VerifyingKey> for Jwk {
    fn from(key: &VerifyingKey) -> Self {
        let kid = base64url(&key.thumbprint());
        match key.algorithm() {
            SignatureAlgorithm::Es256 => {
                // SEC 1: 0x04, x, y.
                let (x, y) = key.raw()[1..].split_at(32);
                let y = Some(base64url(y));
                Self { kty: "EC", crv: "P-256", x: base64url(x), y, alg: "ES256", usage: "sig", kid }
            }
            SignatureAlgorithm::Ed25519 => {
                let x = base64url(key.raw());
                Self { kty: "OKP", crv: "Ed25519", x, y: None, alg: "EdDSA", usage: "sig", kid }
            }
        }
    }
}

/// Base64 with the alphabet for URLs, without padding (RFC 7515, section 2).
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(number >> (18 - 6 * digit) & 63) as usize]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(algorithm: SignatureAlgorithm, raw: &str) -> Jwk {
        Jwk::from(&VerifyingKey::from_raw(algorithm, &hex::decode(raw).unwrap()).unwrap())
    }

    /// RFC 8037, A.2; its thumbprint by RFC 9679 computed with Python.
    #[test]
    fn an_ed25519_key_is_that_of_rfc_8037() {
        let key = key(SignatureAlgorithm::Ed25519, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(
            serde_json::to_string(&key).unwrap(),
            "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\",\
             \"alg\":\"EdDSA\",\"use\":\"sig\",\"kid\":\"hm7vvWcYyIRs193-Q_x0qx2qxFOP-FFOouwtQQpBV0M\"}"
        );
    }

    /// The key and the thumbprint of RFC 9679, section 6.
    #[test]
    fn a_vote_key_has_the_kid_of_rfc_9679() {
        let point = "0465eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d\
                     1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c";
        let key = key(SignatureAlgorithm::Es256, point);
        assert_eq!((key.kty, key.crv, key.alg), ("EC", "P-256", "ES256"));
        assert_eq!(key.x, "Ze2loSV3wrroKUN_4zhwGhCqo3Xhu1td4QjeQ5wIVR0");
        assert_eq!(key.y.unwrap(), "HlLtdXARY_f55A3fnzQbPcm6hgr34Mp8p-nuzQCE0Zw");
        assert_eq!(key.kid, "SWvYr63zB-WwjGSwQhv53AFSijRKQ72oj63RZp2iU-w");
    }

    #[test]
    fn base64url_has_no_padding() {
        let cases: [(&[u8], &str); 5] =
            [(b"", ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (&[0xfb, 0xff], "-_8")];
        for (bytes, expected) in cases {
            assert_eq!(base64url(bytes), expected);
        }
    }
}
