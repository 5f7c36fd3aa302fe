//! Well-formed lies: an honest answer in which one field says something else. Which fields there
//! are comes from the messages' descriptors, so that a new field is lied about by itself.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use consilium_proto::pb::FILE_DESCRIPTOR_SET;
use consilium_proto::wire_scan::{self, Value};
use prost::Message;
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

struct Descriptors {
    messages: BTreeMap<String, DescriptorProto>,
    /// By the last part of a call's path: the message that it answers.
    answers: BTreeMap<String, String>,
}

static DESCRIPTORS: LazyLock<Descriptors> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let (mut messages, mut answers) = (BTreeMap::new(), BTreeMap::new());
    for file in set.file {
        let package = format!(".{}", file.package());
        for service in &file.service {
            let methods = service.method.iter().map(|m| (m.name().to_owned(), m.output_type().to_owned()));
            answers.extend(methods);
        }
        file.message_type.into_iter().for_each(|message| index(&package, message, &mut messages));
    }
    Descriptors { messages, answers }
});

fn index(scope: &str, message: DescriptorProto, messages: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.clone().into_iter().for_each(|nested| index(&name, nested, messages));
    messages.insert(name, message);
}

/// A lie: which field, and the whole message with it.
pub struct Lie {
    /// Names of fields from the answer on, and what was done to the last one.
    pub what: String,
    /// Encoded.
    pub message: Vec<u8>,
}

/// The calls that clients make: of all services but that of peers.
#[must_use]
pub fn calls_of_clients() -> Vec<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.into_iter().flat_map(|file| file.service).filter(|service| service.name() != "PeerService");
    services.flat_map(|service| service.method).map(|method| method.name().to_owned()).collect()
}

/// All lies about an answer of a call, by the last part of the call's path.
#[must_use]
pub fn lies(call: &str, answer: &[u8]) -> Vec<Lie> {
    lies_about(&DESCRIPTORS.answers[call], answer)
}

fn lies_about(name: &str, message: &[u8]) -> Vec<Lie> {
    let descriptor = &DESCRIPTORS.messages[name];
    let fields: Vec<_> = wire_scan::fields(message).map(Result::unwrap).collect();
    let mut found = Vec::new();
    for (position, (number, value)) in fields.iter().enumerate() {
        let field = descriptor.field.iter().find(|field| field.number() as u64 == *number).unwrap();
        let mut say = |what: &str, replaced: Option<Vec<u8>>| {
            let parts = fields.iter().enumerate().filter_map(|(other, part)| match other == position {
                true => replaced.clone(),
                false => Some(encoded(part)),
            });
            found.push(Lie { what: format!("{}{what}", field.name()), message: parts.flatten().collect() });
        };
        say(" left out", None);
        match (value, field.r#type()) {
            (Value::Bytes(inner), Type::Message) => {
                for lie in lies_about(field.type_name(), inner) {
                    say(&format!(".{}", lie.what), Some(encoded(&(*number, Value::Bytes(&lie.message)))));
                }
            }
            (Value::Bytes(inner), _) => {
                let other = altered(inner, field.r#type());
                say(" altered", Some(encoded(&(*number, Value::Bytes(&other)))));
            }
            (Value::Varint(value), _) => say(" altered", Some(encoded(&(*number, Value::Varint(value ^ 1 | 2))))),
            (Value::Fixed, _) => unreachable!("no message has a fixed number"),
        }
    }
    let is_absent = |field: &&FieldDescriptorProto| fields.iter().all(|(number, _)| *number != field.number() as u64);
    for field in descriptor.field.iter().filter(is_absent) {
        let number = field.number() as u64;
        let added = match field.r#type() {
            Type::Message => continue,
            Type::String => encoded(&(number, Value::Bytes(b"a"))),
            Type::Bytes => encoded(&(number, Value::Bytes(&[7; 32]))),
            _ => encoded(&(number, Value::Varint(1))),
        };
        let what = format!("{} {}", field.name(), if field.label() == Label::Repeated { "grown" } else { "added" });
        found.push(Lie { what, message: [message, &added].concat() });
    }
    found
}

/// The same length, and as text still a name.
fn altered(value: &[u8], kind: Type) -> Vec<u8> {
    let mut other = value.to_vec();
    match (other.last_mut(), kind) {
        (Some(last), Type::String) => *last = if *last == b'a' { b'b' } else { b'a' },
        (Some(last), _) => *last ^= 1,
        (None, _) => other.push(b'a'),
    }
    other
}

fn encoded((number, value): &(u64, Value<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    match value {
        Value::Varint(value) => {
            encode_varint(number << 3, &mut out);
            encode_varint(*value, &mut out);
        }
        Value::Bytes(bytes) => {
            encode_varint(number << 3 | 2, &mut out);
            encode_varint(bytes.len() as u64, &mut out);
            out.extend_from_slice(bytes);
        }
        Value::Fixed => unreachable!("no message has a fixed number"),
    }
    out
}
