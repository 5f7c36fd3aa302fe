//! What an encoded message would take in memory, before it is decoded: a part of a
//! repeated field takes two bytes on the wire and hundreds in memory, so a limit in
//! bytes on the wire alone bounds little.
//!
//! The shape of the messages comes from their descriptors, so that nothing here has to
//! be said again for a new message.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};

use crate::pb::FILE_DESCRIPTOR_SET;
use crate::wire_scan::{self, Value};

/// Bytes in memory of a message that is part of another, roughly.
const MESSAGE_COST: usize = 256;
/// Bytes in memory of a string or of bytes, beside their content.
const BYTES_COST: usize = 32;
/// Bytes in memory of a number, which may take one byte on the wire.
const NUMBER_COST: usize = 8;
/// How often its bytes on the wire a message may take in memory. What honest senders
/// send takes four times as much or less.
const COST_RATIO_MAX: usize = 8;
/// Bytes that any message may take in memory: one of few bytes has few parts.
const COST_FREE: usize = 4 * 1024 * 1024;
/// Up to here a message costs what any may, whatever its parts: each takes two bytes at least.
const SMALL_BYTES: usize = COST_FREE / MESSAGE_COST * 2;
/// Messages within messages.
const DEPTH_MAX: usize = 32;

/// The message is not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has far more parts than its bytes justify.
    #[error("has too many parts for its size")]
    TooManyParts,
    /// It is no message.
    #[error("is not an encoded message")]
    Malformed,
}

impl Refused {
    /// What is wrong with the message.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::TooManyParts => "has too many parts for its size",
            Self::Malformed => "is not an encoded message",
        }
    }
}

/// What a field is, as far as memory is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Its place among the shapes.
    Message(usize),
    Bytes,
    Number,
}

/// The fields of a message, by number.
type Shape = BTreeMap<u64, Part>;

/// Of all messages of the contract.
struct Shapes {
    /// By name with the package.
    places: BTreeMap<String, usize>,
    shapes: Vec<Shape>,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
    let mut messages = Vec::new();
    for file in &files {
        file.message_type.iter().for_each(|message| flatten(&mut messages, file.package(), message));
    }
    let places: BTreeMap<_, _> = messages.iter().enumerate().map(|(at, (name, _))| (name.clone(), at)).collect();
    let shapes = messages.iter().map(|(_, message)| shape(message, &places)).collect();
    Shapes { places, shapes }
});

/// A message and those that are defined within it, with their names.
fn flatten<'a>(messages: &mut Vec<(String, &'a DescriptorProto)>, scope: &str, message: &'a DescriptorProto) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.iter().for_each(|nested| flatten(messages, &name, nested));
    messages.push((name, message));
}

fn shape(message: &DescriptorProto, places: &BTreeMap<String, usize>) -> Shape {
    let parts = message.field.iter().map(|field| {
        let part = match field.r#type() {
            Type::Message | Type::Group => match places.get(field.type_name().trim_start_matches('.')) {
                Some(place) => Part::Message(*place),
                None => Part::Bytes,
            },
            Type::String | Type::Bytes => Part::Bytes,
            _ => Part::Number,
        };
        (u64::try_from(field.number()).unwrap_or_default(), part)
    });
    parts.collect()
}

/// Looks whether a message of the contract may be decoded; `name` is with its package. A small one
/// may, be it a message or not.
///
/// # Errors
/// Why not.
pub fn check(name: &str, message: &[u8]) -> Result<(), Refused> {
    if message.len() <= SMALL_BYTES {
        return Ok(());
    }
    let Some(place) = SHAPES.places.get(name) else { return Ok(()) };
    let mut left = COST_FREE.saturating_add(message.len().saturating_mul(COST_RATIO_MAX));
    walk(*place, message, DEPTH_MAX, &mut left)
}

fn walk(place: usize, message: &[u8], depth: usize, left: &mut usize) -> Result<(), Refused> {
    let Some(shape) = SHAPES.shapes.get(place) else { return Ok(()) };
    let depth = depth.checked_sub(1).ok_or(Refused::TooManyParts)?;
    for field in wire_scan::fields(message) {
        let (number, value) = field.map_err(|wire_scan::Malformed| Refused::Malformed)?;
        // What is unknown is skipped in decoding.
        let Some(part) = shape.get(&number) else { continue };
        let (cost, inner) = match (part, value) {
            (Part::Message(inner), Value::Bytes(bytes)) => (MESSAGE_COST, Some((inner, bytes))),
            (Part::Bytes, _) => (BYTES_COST, None),
            // Many numbers together.
            (Part::Number, Value::Bytes(packed)) => (packed.len().saturating_mul(NUMBER_COST), None),
            (Part::Number | Part::Message(_), _) => (NUMBER_COST, None),
        };
        *left = left.checked_sub(cost).ok_or(Refused::TooManyParts)?;
        if let Some((inner, bytes)) = inner {
            walk(*inner, bytes, depth, left)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
