//! Serial numbers of certificates, in one canonical form.
//!
//! RFC 5280 §4.1.2.2 wants a positive integer of at most 20 octets. The
//! libraries below disagree on leading zeros and on the sign; revocation by
//! comparison of bytes is only sound on a canonical form, so nothing may
//! compare serials in any other.

use std::fmt;
use std::str::FromStr;

/// Longest serial number, in octets (RFC 5280 §4.1.2.2).
pub const MAX_SERIAL_OCTETS: usize = 20;

/// Why octets or a text are not a serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSerial {
    /// No octets, or all of them zero.
    #[error("serial number is zero")]
    Zero,
    /// The DER integer is negative.
    #[error("serial number is negative")]
    Negative,
    /// More than 20 octets.
    #[error("serial number is longer than {MAX_SERIAL_OCTETS} octets")]
    TooLong,
    /// The DER integer has superfluous leading zero octets.
    #[error("serial number is not minimally encoded")]
    NotMinimal,
    /// The text is not lower-case hexadecimal of whole octets.
    #[error("serial number is not lower-case hexadecimal")]
    Text,
}

/// A positive serial number of at most 20 octets, big-endian, no leading zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(Vec<u8>);

impl Serial {
    /// Reads the content octets of a DER INTEGER.
    ///
    /// # Errors
    /// [`InvalidSerial`] for what RFC 5280 forbids, zero included.
    pub fn from_der_integer(octets: &[u8]) -> Result<Self, InvalidSerial> {
        let magnitude = der_magnitude(octets)?;
        if magnitude.is_empty() {
            return Err(InvalidSerial::Zero);
        }
        Ok(Self(magnitude.to_vec()))
    }

    /// The magnitude, big-endian, without a leading zero: 1 to 20 octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The magnitude of a non-negative, minimal DER INTEGER of at most 20 octets;
/// empty for zero.
pub(crate) fn der_magnitude(octets: &[u8]) -> Result<&[u8], InvalidSerial> {
    let magnitude = match octets {
        [] | [0] => &[],
        [first, ..] if first & 0x80 != 0 => return Err(InvalidSerial::Negative),
        [0, second, ..] if second & 0x80 == 0 => return Err(InvalidSerial::NotMinimal),
        // 0x00 before a set top bit only keeps the integer positive.
        [0, rest @ ..] => rest,
        all => all,
    };
    if magnitude.len() > MAX_SERIAL_OCTETS {
        return Err(InvalidSerial::TooLong);
    }
    Ok(magnitude)
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 2 * MAX_SERIAL_OCTETS {
            return Err(InvalidSerial::TooLong);
        }
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(InvalidSerial::Text);
        };
        let octets: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect();
        match octets.ok_or(InvalidSerial::Text)?.as_slice() {
            [] | [0] => Err(InvalidSerial::Zero),
            [0, ..] => Err(InvalidSerial::NotMinimal),
            canonical => Ok(Self(canonical.to_vec())),
        }
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
