//! The narrative: XHTML that may hold text and its form, and nothing that acts (txt-1, txt-2).
//!
//! A small scanner, not a browser: it refuses what it does not know. Names of elements and
//! attributes are those of chapters 7 to 11 and 15 of HTML 4.0, as R4 says.

use super::Problem;
use super::walk::Walk;

const TXT_1: &str = "only basic formatting elements and attributes of XHTML, well-formed, within one div";
const TXT_2: &str = "some text or a picture is present";

#[rustfmt::skip]
const ELEMENTS: [&str; 51] = [
    "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "dfn",
    "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "map", "area", "ol", "p",
    "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr",
    "tt", "ul", "var", "kbd",
];

pub(super) fn check(walk: &mut Walk<'_>, text: &str) {
    match scan(text) {
        None => walk.find(Problem::Invariant { rule: "txt-1", meaning: TXT_1 }),
        Some(false) => walk.find(Problem::Invariant { rule: "txt-2", meaning: TXT_2 }),
        Some(true) => {}
    }
}

/// Whether the text is a `div` as it must be (else `None`), and whether it has content.
fn scan(text: &str) -> Option<bool> {
    let mut rest = text.trim();
    let (mut open, mut content): (Vec<&str>, bool) = (Vec::new(), false);
    if !rest.starts_with("<div") {
        return None;
    }
    while !rest.is_empty() {
        let Some(markup) = rest.strip_prefix('<') else {
            let end = rest.find('<').unwrap_or(rest.len());
            // Text stands within the div.
            open.last()?;
            content |= !rest[..end].trim().is_empty();
            rest = &rest[end..];
            continue;
        };
        if let Some(comment) = markup.strip_prefix("!--") {
            rest = comment.split_once("-->")?.1;
            continue;
        }
        let end = tag_end(markup)?;
        let (tag, after) = (&markup[..end], &markup[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop()? != name.trim_end() {
                return None;
            }
            if open.is_empty() && !rest.trim().is_empty() {
                return None;
            }
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_at(tag.find(|c: char| c.is_ascii_whitespace()).unwrap_or(tag.len()));
        if !ELEMENTS.contains(&name) || !attributes_fit(attributes) {
            return None;
        }
        content |= name == "img";
        if !closed {
            open.push(name);
        }
    }
    open.is_empty().then_some(content)
}

/// Where a tag ends: at the first `>` outside quotes.
fn tag_end(markup: &str) -> Option<usize> {
    let mut quote = None;
    markup.bytes().position(|b| match (quote, b) {
        (None, b'"' | b'\'') => {
            quote = Some(b);
            false
        }
        (Some(open), b) => {
            if b == open {
                quote = None;
            }
            false
        }
        (None, b) => b == b'>',
    })
}

/// `name="value"`, none of which acts.
fn attributes_fit(mut text: &str) -> bool {
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return true;
        }
        let Some((name, rest)) = text.split_once('=') else { return false };
        let (name, rest) = (name.trim_end(), rest.trim_start());
        let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return false };
        let Some((value, rest)) = rest[1..].split_once(quote) else { return false };
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b':' || b == b'-');
        let lower = name.to_ascii_lowercase();
        let acts = lower.starts_with("on") || value.trim_start().to_ascii_lowercase().starts_with("javascript:");
        if !plain || acts {
            return false;
        }
        text = rest;
    }
}
