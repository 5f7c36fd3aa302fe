//! Percent-encoding and addresses, as far as references need them. Total: a text
//! that is not well-formed comes back as it is.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// What would end a name or a value of a query.
const SEPARATORS: AsciiSet = CONTROLS.add(b'%').add(b'&').add(b'=').add(b'#').add(b'?');

/// Decoded once. A plus sign stays one: it is no space in a FHIR search.
pub(super) fn decoded(text: &str) -> String {
    if !well_formed(text) {
        return text.to_owned();
    }
    percent_decode_str(text).decode_utf8().map_or_else(|_| text.to_owned(), Into::into)
}

/// A name or a value of a query, as [`decoded`] takes it back.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, &SEPARATORS).to_string()
}

/// With those characters decoded that never need encoding (RFC 3986, 6.2.2): ids of
/// FHIR have no others.
pub(super) fn unreserved(text: &str) -> String {
    if !text.contains('%') || !well_formed(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        // Well-formed: two digits follow.
        let (digits, after) = after.split_at(2);
        match u8::from_str_radix(digits, 16).map(char::from) {
            Ok(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => out.push(c),
            Ok(_) | Err(_) => {
                out.push('%');
                out.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn well_formed(text: &str) -> bool {
    text.split('%').skip(1).all(|after| after.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)))
}

/// An HTTP address in one spelling: scheme and host in lower case, no default port, no
/// slash at its end, nothing encoded that need not be. `None`: it is none.
pub(super) fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    if host.is_empty() {
        return None;
    }
    Some(format!("{scheme}://{host}{}", unreserved(path.trim_end_matches('/'))))
}
