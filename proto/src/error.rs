//! The one error of parsing: which field, and what is wrong with it. It never
//! holds the offending value, because that may be health data.

use crate::ids::TimeMs;

/// A field of a message that cannot be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct FieldError {
    /// Path of the field, as in the .proto file, for example `actions[3].write_record.kind`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A required field is not set.
    #[error("is required")]
    Missing,
    /// A byte string or list has the wrong length.
    #[error("has length {actual}, expected {expected}")]
    Length {
        /// Allowed length or range, for people.
        expected: String,
        /// Length found.
        actual: usize,
    },
    /// A number is out of its range.
    #[error("is {actual}, allowed is {min} to {max}")]
    Range {
        /// Lowest allowed value.
        min: u64,
        /// Highest allowed value.
        max: u64,
        /// Value found.
        actual: u64,
    },
    /// A point in time is out of its range.
    #[error("is {}, allowed is {} to {}", actual.utc(), earliest.utc(), latest.utc())]
    Time {
        /// Earliest allowed time.
        earliest: TimeMs,
        /// Latest allowed time.
        latest: TimeMs,
        /// Time found.
        actual: TimeMs,
    },
    /// The value does not have the documented form.
    #[error("{0}")]
    Malformed(&'static str),
}

impl FieldError {
    /// A field that is missing.
    pub fn missing(field: impl Into<String>) -> Self {
        Self { field: field.into(), problem: Problem::Missing }
    }

    /// A field of the wrong form.
    pub fn malformed(field: impl Into<String>, why: &'static str) -> Self {
        Self { field: field.into(), problem: Problem::Malformed(why) }
    }

    /// A field of the wrong length.
    pub fn length(field: impl Into<String>, expected: impl Into<String>, actual: usize) -> Self {
        Self { field: field.into(), problem: Problem::Length { expected: expected.into(), actual } }
    }

    /// A number out of range.
    pub fn range(field: impl Into<String>, min: u64, max: u64, actual: u64) -> Self {
        Self { field: field.into(), problem: Problem::Range { min, max, actual } }
    }

    /// A point in time out of range.
    pub fn time(field: impl Into<String>, (earliest, latest): (TimeMs, TimeMs), actual: TimeMs) -> Self {
        Self { field: field.into(), problem: Problem::Time { earliest, latest, actual } }
    }

    /// The same error, seen from the message that holds the field.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// Parses a fixed-length byte field.
///
/// # Errors
/// [`Problem::Length`] if the length is not `N`.
pub fn fixed<const N: usize>(field: &str, bytes: &[u8]) -> Result<[u8; N], FieldError> {
    bytes.try_into().map_err(|_| FieldError::length(field, N.to_string(), bytes.len()))
}

/// Checks a number against an inclusive range.
///
/// # Errors
/// [`Problem::Range`] if it is outside.
pub fn in_range(field: &str, value: u64, min: u64, max: u64) -> Result<u64, FieldError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(FieldError::range(field, min, max, value)) }
}

/// Checks a length against an inclusive range.
///
/// # Errors
/// [`Problem::Length`] if it is outside.
pub fn length_in(field: &str, actual: usize, min: usize, max: usize) -> Result<(), FieldError> {
    if (min..=max).contains(&actual) {
        Ok(())
    } else {
        Err(FieldError::length(field, format!("{min} to {max}"), actual))
    }
}
