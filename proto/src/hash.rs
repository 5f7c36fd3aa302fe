//! SHA-256, the one digest of the contract, and the 32-byte newtypes built on it.
//!
//! Every digest in the workspace goes through [`sha256`], so that one
//! implementation (and one FIPS story) serves all. This module knows no domain
//! strings: what is hashed, and under which domain, is decided by its callers.
//! It must never truncate a digest or accept one of another length.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// Length in bytes of a SHA-256 digest, and of every type made by [`hash_newtype!`](crate::hash_newtype).
pub const HASH_LEN: usize = 32;

/// Inputs up to this many bytes are gathered on the stack and hashed in one
/// call: an incremental context costs an allocation, more than the digest of
/// a Merkle node itself.
const ONE_SHOT_LEN_MAX: usize = 128;

/// Hashes the concatenation of `parts` with SHA-256 (FIPS 180-4).
///
/// The parts are not delimited: callers must make the concatenation
/// unambiguous (fixed lengths or a domain string with length prefixes).
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; HASH_LEN] {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    let output = match parts {
        [single] => digest(&SHA256, single),
        _ if len <= ONE_SHOT_LEN_MAX => {
            let mut buffer = [0u8; ONE_SHOT_LEN_MAX];
            let mut filled = 0;
            for part in parts {
                buffer[filled..filled + part.len()].copy_from_slice(part);
                filled += part.len();
            }
            digest(&SHA256, &buffer[..filled])
        }
        _ => {
            let mut context = Context::new(&SHA256);
            parts.iter().for_each(|part| context.update(part));
            context.finish()
        }
    };
    let mut bytes = [0u8; HASH_LEN];
    bytes.copy_from_slice(output.as_ref());
    bytes
}

/// A byte string that should have been [`HASH_LEN`] bytes long was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{type_name} must be {HASH_LEN} bytes, got {actual}")]
pub struct LengthError {
    /// The newtype that refused the bytes.
    pub type_name: &'static str,
    /// The length that was given, in bytes.
    pub actual: usize,
}

/// Why a text is not the hexadecimal form of a 32-byte newtype.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseHashError {
    /// The text is not exactly 64 characters long.
    #[error("{type_name} must be 64 hexadecimal characters, got {actual}")]
    Length {
        /// The newtype that refused the text.
        type_name: &'static str,
        /// The length that was given, in bytes of UTF-8.
        actual: usize,
    },
    /// A character is not a hexadecimal digit.
    #[error("{type_name} has a character that is not a hexadecimal digit at position {position}")]
    Digit {
        /// The newtype that refused the text.
        type_name: &'static str,
        /// Byte offset of the first bad character.
        position: usize,
    },
}

/// Makes `&[u8]` into a 32-byte array; for [`hash_newtype!`](crate::hash_newtype).
///
/// # Errors
/// [`LengthError`] if `bytes` is not exactly [`HASH_LEN`] long.
pub fn array_from_slice(type_name: &'static str, bytes: &[u8]) -> Result<[u8; HASH_LEN], LengthError> {
    bytes.try_into().map_err(|_| LengthError { type_name, actual: bytes.len() })
}

/// Parses 64 hexadecimal characters of either case; for [`hash_newtype!`](crate::hash_newtype).
///
/// # Errors
/// [`ParseHashError`] for a wrong length or a character that is no digit.
pub fn array_from_hex(type_name: &'static str, text: &str) -> Result<[u8; HASH_LEN], ParseHashError> {
    let digits = text.as_bytes();
    if digits.len() != 2 * HASH_LEN {
        return Err(ParseHashError::Length { type_name, actual: digits.len() });
    }
    if let Some(position) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
        return Err(ParseHashError::Digit { type_name, position });
    }
    let mut bytes = [0u8; HASH_LEN];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| ParseHashError::Digit { type_name, position: 0 })?;
    Ok(bytes)
}

/// Writes lower-case hexadecimal; for [`hash_newtype!`](crate::hash_newtype).
///
/// # Errors
/// Whatever the formatter returns.
pub fn write_hex(formatter: &mut core::fmt::Formatter<'_>, bytes: &[u8; HASH_LEN]) -> core::fmt::Result {
    let mut text = [0u8; 2 * HASH_LEN];
    hex::encode_to_slice(bytes, &mut text).map_err(|_| core::fmt::Error)?;
    formatter.pad(core::str::from_utf8(&text).map_err(|_| core::fmt::Error)?)
}

/// Declares 32-byte newtypes: `Copy`, ordered bytewise, hexadecimal in
/// `Display`, `Debug` and `FromStr`, and made from bytes only when there are
/// exactly 32 of them.
///
/// ```
/// consilium_proto::hash_newtype! {
///     /// Identifies a thing by the digest of its bytes.
///     pub struct ThingId;
/// }
/// let id = ThingId::from_bytes([0xab; 32]);
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert!(ThingId::try_from(&[0u8; 31][..]).is_err());
/// ```
#[macro_export]
macro_rules! hash_newtype {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name([u8; $crate::hash::HASH_LEN]);

        impl $name {
            /// Takes 32 bytes as they are, without hashing them.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $crate::hash::HASH_LEN]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes as a field of a message.
            #[must_use]
            pub fn to_bytes(&self) -> ::bytes::Bytes {
                ::bytes::Bytes::copy_from_slice(&self.0)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $crate::hash::HASH_LEN] {
                &self.0
            }
        }

        impl ::core::convert::AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl ::core::convert::TryFrom<&[u8]> for $name {
            type Error = $crate::hash::LengthError;

            fn try_from(bytes: &[u8]) -> ::core::result::Result<Self, Self::Error> {
                $crate::hash::array_from_slice(stringify!($name), bytes).map(Self)
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = $crate::hash::ParseHashError;

            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                $crate::hash::array_from_hex(stringify!($name), text).map(Self)
            }
        }

        impl ::core::fmt::Display for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                $crate::hash::write_hex(formatter, &self.0)
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                formatter.write_str(concat!(stringify!($name), "("))?;
                $crate::hash::write_hex(formatter, &self.0)?;
                formatter.write_str(")")
            }
        }
    )+};
}

hash_newtype! {
    /// A plain SHA-256 digest: a Merkle node, a root, a payload's digest.
    pub struct Hash;
}

impl Hash {
    /// Hashes the concatenation of `parts`; see [`sha256`].
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(sha256(parts))
    }
}

#[cfg(test)]
mod tests;
