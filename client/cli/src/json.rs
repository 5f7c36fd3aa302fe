//! The one place that turns results into JSON.
//!
//! Every document is `{"schema":2,"result":...}`. A message of the contract is
//! printed as the .proto files declare it: all its fields in their order and by
//! their names, bytes as lower-case hexadecimal, enumerators by name, absent
//! messages as null; of a `oneof` only what is set. Nobody writes fields of
//! messages down a second time, so a new one cannot be forgotten.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use consilium_proto::pb;
use prost::Message;
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// Raised whenever a field is renamed, removed or changes its meaning.
const SCHEMA: u32 = 2;

/// What every command prints.
#[derive(Serialize)]
pub(crate) struct Document<'a, T> {
    schema: u32,
    /// What of it is a node's word.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    claimed: &'a [&'static str],
    result: &'a T,
}

impl<'a, T: Serialize> Document<'a, T> {
    pub(crate) fn new(result: &'a T) -> Self {
        Self { schema: SCHEMA, claimed: &[], result }
    }

    /// A result of which something is not proven.
    pub(crate) fn claimed(self, claimed: &'a [&'static str]) -> Self {
        Self { claimed, ..self }
    }
}

/// A message that is printed as it is.
pub(crate) trait Printed: Message {
    /// Its full name in the .proto files, with a leading dot.
    const NAME: &'static str;
}

macro_rules! printed {
    ($($message:ident),* $(,)?) => {
        $(impl Printed for pb::$message {
            const NAME: &'static str = concat!(".consilium.v1.", stringify!($message));
        })*
    };
}

printed! { GetRulesResponse, GetStakeResponse, GetStatusResponse, MemberEntry, PenaltyState, RecordVersion, Tally }

/// As a field of a view: `#[serde(serialize_with = "json::message")]`.
pub(crate) fn message<M: Printed, S: Serializer>(message: &M, serializer: S) -> Result<S::Ok, S::Error> {
    tree(message).serialize(serializer)
}

/// As [`message`], for one that may be absent.
pub(crate) fn optional<M: Printed, S: Serializer>(message: &Option<M>, serializer: S) -> Result<S::Ok, S::Error> {
    message.as_ref().map(tree).serialize(serializer)
}

/// A whole result that is a message.
#[derive(Debug)]
pub(crate) struct One<M>(pub(crate) M);

impl<M: Printed> Serialize for One<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        tree(&self.0).serialize(serializer)
    }
}

/// A whole result that is a list of messages.
#[derive(Debug)]
pub(crate) struct Many<M>(pub(crate) Vec<M>);

impl<M: Printed> Serialize for Many<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(tree))
    }
}

/// A value whose fields keep their order.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Text(String),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(number) => serializer.serialize_u64(*number),
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Object(fields) => {
                let mut object = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| object.serialize_entry(name, value))?;
                object.end()
            }
        }
    }
}

fn tree<M: Printed>(message: &M) -> Tree {
    CONTRACT.message(M::NAME, &message.encode_to_vec())
}

/// The messages and enums that the .proto files declare.
struct Contract {
    messages: BTreeMap<String, DescriptorProto>,
    enums: BTreeMap<String, BTreeMap<i32, String>>,
}

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::read);

const ENCODED_HERE: &str = "prost has encoded it from the same .proto files";

impl Contract {
    fn read() -> Self {
        let set = FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).expect("protoc has written the descriptors");
        let (mut messages, mut enums) = (BTreeMap::new(), BTreeMap::new());
        for file in set.file {
            let package = file.package().to_owned();
            for declared in file.enum_type {
                let names = declared.value.iter().map(|v| (v.number(), v.name().to_owned())).collect();
                enums.insert(format!(".{package}.{}", declared.name()), names);
            }
            for declared in file.message_type {
                messages.insert(format!(".{package}.{}", declared.name()), declared);
            }
        }
        Self { messages, enums }
    }

    fn message(&self, name: &str, mut bytes: &[u8]) -> Tree {
        let declared = &self.messages[name].field;
        let mut values: Vec<Option<Tree>> = declared.iter().map(|field| self.absent(field)).collect();
        while bytes.has_remaining() {
            let (tag, wire) = decode_key(&mut bytes).expect(ENCODED_HERE);
            let position = declared.iter().position(|f| f.number() == tag.cast_signed()).expect(ENCODED_HERE);
            let field = &declared[position];
            let value = self.value(field, wire, &mut bytes);
            values[position] = Some(match (values[position].take(), value) {
                (Some(Tree::List(mut list)), Tree::List(packed)) => {
                    list.extend(packed);
                    Tree::List(list)
                }
                (Some(Tree::List(mut list)), item) => {
                    list.push(item);
                    Tree::List(list)
                }
                (_, value) => value,
            });
        }
        let named = declared.iter().zip(values);
        Tree::Object(named.filter_map(|(field, value)| Some((field.name().to_owned(), value?))).collect())
    }

    /// What stands for a field that is not on the wire; nothing for one of a `oneof`.
    fn absent(&self, field: &FieldDescriptorProto) -> Option<Tree> {
        if field.label() == Label::Repeated {
            return Some(Tree::List(Vec::new()));
        }
        if field.proto3_optional() {
            return Some(Tree::Null);
        }
        if field.oneof_index.is_some() {
            return None;
        }
        Some(match field.r#type() {
            Type::Message | Type::Group => Tree::Null,
            Type::Bytes | Type::String => Tree::Text(String::new()),
            _ => self.number(field, 0),
        })
    }

    fn value(&self, field: &FieldDescriptorProto, wire: WireType, bytes: &mut &[u8]) -> Tree {
        if wire == WireType::Varint {
            return self.number(field, decode_varint(bytes).expect(ENCODED_HERE));
        }
        assert_eq!(wire, WireType::LengthDelimited, "the contract has no numbers of fixed width");
        let length = usize::try_from(decode_varint(bytes).expect(ENCODED_HERE)).expect(ENCODED_HERE);
        let (mut content, rest) = bytes.split_at(length);
        *bytes = rest;
        match field.r#type() {
            Type::Message => self.message(field.type_name(), content),
            Type::String => Tree::Text(String::from_utf8_lossy(content).into_owned()),
            Type::Bytes => Tree::Text(hex::encode(content)),
            _ => {
                let mut packed = Vec::new();
                while content.has_remaining() {
                    packed.push(self.number(field, decode_varint(&mut content).expect(ENCODED_HERE)));
                }
                Tree::List(packed)
            }
        }
    }

    fn number(&self, field: &FieldDescriptorProto, number: u64) -> Tree {
        let signed = number.cast_signed();
        match field.r#type() {
            Type::Bool => Tree::Bool(number != 0),
            Type::Int32 | Type::Int64 => Tree::Signed(signed),
            Type::Enum => {
                let names = &self.enums[field.type_name()];
                let name = i32::try_from(signed).ok().and_then(|number| names.get(&number));
                name.map_or(Tree::Signed(signed), |name| Tree::Text(name.clone()))
            }
            _ => Tree::Unsigned(number),
        }
    }
}

#[cfg(test)]
pub(crate) mod snapshot;
#[cfg(test)]
mod tests;
