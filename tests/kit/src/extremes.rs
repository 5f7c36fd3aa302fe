//! Requests in which a number is as large or as small as its field takes. Which calls and fields
//! there are comes from the descriptors, so that a new one is tried by itself.

use std::collections::BTreeMap;

use consilium_proto::pb::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost::encoding::encode_varint;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// The largest number of 64 bits, the largest of 32, and the smallest that has a sign.
const EXTREMES: [u64; 3] = [u64::MAX, u32::MAX as u64, i32::MIN as i64 as u64];
/// Messages in messages that are looked into.
const DEPTH_MAX: usize = 4;

/// A request that nobody honest makes.
pub struct Extreme {
    /// The call's path.
    pub path: String,
    /// Names of fields from the request on, and which number the last one is.
    pub what: String,
    /// Encoded.
    pub message: Vec<u8>,
}

/// What stands in a request for a message of a type, by its full name, where it must make sense.
pub type Honest = BTreeMap<&'static str, Vec<u8>>;

/// Makes messages after their descriptors.
pub struct Extremes {
    messages: BTreeMap<String, DescriptorProto>,
    /// By path.
    requests: Vec<(String, String)>,
    honest: Honest,
}

impl Extremes {
    /// Of all services but that of peers.
    #[must_use]
    pub fn new(honest: Honest) -> Self {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let (mut messages, mut requests) = (BTreeMap::new(), Vec::new());
        for file in set.file {
            let package = file.package().to_owned();
            for service in file.service.iter().filter(|service| service.name() != "PeerService") {
                let path = |method: &str| format!("/{package}.{}/{method}", service.name());
                requests.extend(service.method.iter().map(|m| (path(m.name()), m.input_type().to_owned())));
            }
            file.message_type.into_iter().for_each(|message| index(&format!(".{package}"), message, &mut messages));
        }
        Self { messages, requests, honest }
    }

    /// Each number of each request of each call, in a request that says something in every field,
    /// and in one that says nothing else.
    #[must_use]
    pub fn requests(&self) -> Vec<Extreme> {
        let of_call = |(path, request): &(String, String)| {
            let extremes = [true, false].map(|whole| self.extremes(request, whole, 0));
            let named = |(what, message)| Extreme { path: path.clone(), what, message };
            extremes.into_iter().flatten().map(named).collect::<Vec<_>>()
        };
        self.requests.iter().flat_map(of_call).collect()
    }

    /// The same of one message.
    #[must_use]
    pub fn of(&self, message: &str) -> Vec<(String, Vec<u8>)> {
        self.extremes(message, true, 0)
    }

    fn extremes(&self, message: &str, whole: bool, depth: usize) -> Vec<(String, Vec<u8>)> {
        if self.honest.contains_key(message) || depth > DEPTH_MAX {
            return Vec::new();
        }
        let fields = &self.messages[message].field;
        let mut found = Vec::new();
        for field in fields {
            let others = fields.iter().filter(|other| whole && other.number != field.number && !shares(other, field));
            let others: Vec<u8> = others.flat_map(|other| self.sample_field(other, depth)).collect();
            let mut say = |what: String, value: Vec<u8>| {
                found.push((format!("{}{what}", field.name()), [others.clone(), value].concat()));
            };
            match field.r#type() {
                Type::Message => {
                    for (what, inner) in self.extremes(field.type_name(), whole, depth + 1) {
                        say(format!(".{what}"), with_length(field, &inner));
                    }
                }
                Type::String | Type::Bytes | Type::Bool => {}
                _ => EXTREMES.into_iter().for_each(|number| say(format!(" = {number}"), varint(field, number))),
            }
        }
        found
    }

    /// A message with something plausible in every field.
    fn sample(&self, message: &str, depth: usize) -> Vec<u8> {
        match self.honest.get(message) {
            Some(honest) => honest.clone(),
            None if depth > DEPTH_MAX => Vec::new(),
            None => {
                let fields = &self.messages[message].field;
                // Of what excludes each other, the first.
                let first = |field: &&FieldDescriptorProto| {
                    fields.iter().take_while(|other| other.number != field.number).all(|other| !shares(other, field))
                };
                fields.iter().filter(first).flat_map(|field| self.sample_field(field, depth)).collect()
            }
        }
    }

    fn sample_field(&self, field: &FieldDescriptorProto, depth: usize) -> Vec<u8> {
        match field.r#type() {
            Type::Message => with_length(field, &self.sample(field.type_name(), depth + 1)),
            Type::String => with_length(field, text(field.name())),
            Type::Bytes => with_length(field, &vec![7; length(field.name())]),
            _ => varint(field, 1),
        }
    }
}

fn index(scope: &str, message: DescriptorProto, messages: &mut BTreeMap<String, DescriptorProto>) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.clone().into_iter().for_each(|nested| index(&name, nested, messages));
    messages.insert(name, message);
}

/// Whether only one of two fields can be there.
fn shares(one: &FieldDescriptorProto, other: &FieldDescriptorProto) -> bool {
    one.oneof_index.is_some() && one.oneof_index == other.oneof_index
}

/// As long as fields of that name are.
fn length(name: &str) -> usize {
    match name {
        "page_token" => 8,
        "author" | "transaction_id" => 32,
        _ if name.contains("sha256") || name.contains("hash") || name.contains("key_id") => 32,
        _ => 16,
    }
}

fn text(name: &str) -> &'static [u8] {
    match name {
        "kind" => b"Observation",
        _ if name.contains("spiffe") || name == "identity" => b"spiffe://hospital-a/service/ehr",
        _ => b"hospital-a",
    }
}

fn varint(field: &FieldDescriptorProto, number: u64) -> Vec<u8> {
    let mut value = Vec::new();
    encode_varint(number, &mut value);
    // Repeated numbers are packed.
    if field.label() == Label::Repeated {
        return with_length(field, &value);
    }
    let mut out = Vec::new();
    encode_varint((field.number() as u64) << 3, &mut out);
    [out, value].concat()
}

fn with_length(field: &FieldDescriptorProto, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_varint((field.number() as u64) << 3 | 2, &mut out);
    encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}
