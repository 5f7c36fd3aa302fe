//! The primitive types of R4: which JSON type each has, and which form. Recognisers by hand, each
//! one pass over the text.

use serde_json::Value;

use super::moment;

/// A primitive type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of R4, and `form` says what each is")]
pub enum Primitive {
    Base64Binary,
    Boolean,
    Canonical,
    Code,
    Date,
    DateTime,
    Decimal,
    Id,
    Instant,
    Integer,
    Markdown,
    Oid,
    PositiveInt,
    String,
    Time,
    UnsignedInt,
    Uri,
    Url,
    Uuid,
    Xhtml,
}

/// Bytes of a string: R4 says 1 MB.
const STRING_BYTES_MAX: usize = 1024 * 1024;
/// Characters of an id.
const ID_CHARS_MAX: usize = 64;

#[rustfmt::skip]
const ALL: [(Primitive, &str, &str); 20] = [
    (Primitive::Base64Binary, "base64Binary", "base64 with its padding"),
    (Primitive::Boolean, "boolean", "true or false"),
    (Primitive::Canonical, "canonical", "a URL without spaces"),
    (Primitive::Code, "code", "no space at its ends, and single ones within"),
    (Primitive::Date, "date", "a real day as YYYY, YYYY-MM or YYYY-MM-DD"),
    (Primitive::DateTime, "dateTime", "a date, or a date and time to the second with a zone"),
    (Primitive::Decimal, "decimal", "a number"),
    (Primitive::Id, "id", "1 to 64 of letters, digits, - and ."),
    (Primitive::Instant, "instant", "a date and time to the second with a zone"),
    (Primitive::Integer, "integer", "a whole number of 32 bits"),
    (Primitive::Markdown, "markdown", "text of at most 1 MB without control characters"),
    (Primitive::Oid, "oid", "urn:oid: and an object identifier"),
    (Primitive::PositiveInt, "positiveInt", "a whole number from 1 to 2147483647"),
    (Primitive::String, "string", "text of at most 1 MB without control characters"),
    (Primitive::Time, "time", "hh:mm:ss without a zone"),
    (Primitive::UnsignedInt, "unsignedInt", "a whole number from 0 to 2147483647"),
    (Primitive::Uri, "uri", "no spaces"),
    (Primitive::Url, "url", "no spaces"),
    (Primitive::Uuid, "uuid", "urn:uuid: and a UUID in lower case"),
    (Primitive::Xhtml, "xhtml", "a div of XHTML"),
];

impl Primitive {
    /// By its name in R4.
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, n, _)| *n == name).map(|(p, _, _)| *p)
    }

    /// Its name in R4.
    #[must_use]
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(p, _, _)| *p == self).map_or("value", |(_, name, _)| name)
    }

    /// The form of its values, in words.
    #[must_use]
    pub fn form(self) -> &'static str {
        ALL.iter().find(|(p, _, _)| *p == self).map_or("", |(_, _, form)| form)
    }

    /// The JSON type, in words.
    pub(super) fn json(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Decimal | Self::Integer | Self::PositiveInt | Self::UnsignedInt => "a number",
            Self::Base64Binary
            | Self::Canonical
            | Self::Code
            | Self::Date
            | Self::DateTime
            | Self::Id
            | Self::Instant
            | Self::Markdown
            | Self::Oid
            | Self::String
            | Self::Time
            | Self::Uri
            | Self::Url
            | Self::Uuid
            | Self::Xhtml => "a string",
        }
    }

    /// Whether the value has the type in JSON.
    pub(super) fn has_json_type(self, value: &Value) -> bool {
        match self.json() {
            "true or false" => value.is_boolean(),
            "a number" => value.is_number(),
            _ => value.is_string(),
        }
    }

    /// Whether a value of the right JSON type has the form.
    pub(super) fn has_form(self, value: &Value) -> bool {
        let whole = |min: i64| value.as_i64().is_some_and(|n| (min..=i64::from(i32::MAX)).contains(&n));
        let text = value.as_str().unwrap_or("");
        match self {
            Self::Boolean | Self::Decimal | Self::Xhtml => true,
            Self::Integer => whole(i64::from(i32::MIN)),
            Self::UnsignedInt => whole(0),
            Self::PositiveInt => whole(1),
            Self::Base64Binary => is_base64(text),
            Self::Canonical | Self::Uri | Self::Url => !text.bytes().any(|b| b.is_ascii_whitespace()),
            Self::Code => is_code(text),
            Self::Date => moment::date(text).is_some(),
            Self::DateTime => moment::date(text).is_some() || moment::instant(text).is_some(),
            Self::Instant => moment::instant(text).is_some(),
            Self::Time => moment::is_time(text),
            Self::Id => is_id(text),
            Self::Oid => text.strip_prefix("urn:oid:").is_some_and(is_oid),
            Self::Uuid => text.strip_prefix("urn:uuid:").is_some_and(is_uuid),
            Self::String | Self::Markdown => is_text(text),
        }
    }
}

fn is_text(text: &str) -> bool {
    let plain = |b: u8| b >= b' ' || matches!(b, b'\t' | b'\r' | b'\n');
    text.len() <= STRING_BYTES_MAX && text.bytes().all(plain) && text.chars().any(|c| !c.is_whitespace())
}

fn is_code(text: &str) -> bool {
    let spaced = |b: &u8| b.is_ascii_whitespace();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_none_or(spaced) || bytes.last().is_none_or(spaced);
    !ends && !bytes.windows(2).any(|pair| pair.iter().all(spaced))
}

/// The form of an id: `[A-Za-z0-9\-.]{1,64}`.
pub(super) fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=ID_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

fn is_oid(text: &str) -> bool {
    matches!(text.as_bytes(), [b'0'..=b'2', b'.', ..]) && text.split('.').all(is_arc)
}

fn is_arc(arc: &str) -> bool {
    !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()) && (arc == "0" || !arc.starts_with('0'))
}

fn is_uuid(text: &str) -> bool {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| if matches!(i, 8 | 13 | 18 | 23) { b == b'-' } else { hex(b) })
}

/// Base64 of RFC 4648 with padding; white space stands between the characters, as in R4.
fn is_base64(text: &str) -> bool {
    let (mut letters, mut padding) = (0_usize, 0_usize);
    for b in text.bytes() {
        match b {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'=' => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => letters += 1,
            _ => return false,
        }
    }
    letters > 0 && padding <= 2 && (letters + padding) % 4 == 0
}
