//! Cuts a text into policies and holds them to the [limits](crate::limits), before anything
//! that recurses sees them. It knows tokens, comments and brackets as Cedar does, and refuses
//! where Cedar could see something else than it does; whether a policy is well formed it leaves
//! to Cedar. It must never recurse itself.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::limits::{BRACKETS_MAX, ID_CHARS_MAX, POLICIES_MAX, POLICY_BYTES_MAX, POLICY_TOKENS_MAX, TEXT_BYTES_MAX};
use crate::problem::{PolicyProblem, message};

/// Signs of two characters. None is the beginning of another.
const PAIRS: [&str; 7] = ["==", "!=", "<=", ">=", "&&", "||", "::"];
/// Words before a bracket that call nothing.
const KEYWORDS: [&str; 11] = ["permit", "forbid", "when", "unless", "if", "then", "else", "in", "is", "has", "like"];
const SIGNS: &str = ".,:<>+-*/%!=@;";

/// One policy of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece<'t> {
    /// Its `@id`.
    pub(crate) id: &'t str,
    /// Line on which it begins.
    pub(crate) line: usize,
    /// How many `when` and `unless` it has, or more.
    pub(crate) clauses: usize,
    /// From the first annotation to the semicolon.
    pub(crate) text: &'t str,
}

/// The policies of a text, in its order, with ids that differ.
pub(crate) fn scan(text: &str) -> Result<Vec<Piece<'_>>, PolicyProblem> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PolicyProblem::TextTooLong { bytes: text.len() });
    }
    let mut tokens = Tokens { text, at: 0, line: 1 };
    let mut pieces = Vec::new();
    let mut ids = BTreeSet::new();
    while let Some(first) = tokens.next_token()? {
        if pieces.len() == POLICIES_MAX {
            return Err(PolicyProblem::TooManyPolicies { line: first.line });
        }
        let piece = piece(&mut tokens, first)?;
        if !ids.insert(piece.id) {
            return Err(PolicyProblem::DuplicateId { line: piece.line, id: piece.id.to_owned() });
        }
        pieces.push(piece);
    }
    if pieces.is_empty() { Err(PolicyProblem::NoPolicy) } else { Ok(pieces) }
}

/// Reads up to the semicolon that no bracket is around.
fn piece<'t>(tokens: &mut Tokens<'t>, first: Token) -> Result<Piece<'t>, PolicyProblem> {
    let (text, line, start) = (tokens.text, first.line, first.range.start);
    let mut seen = Vec::new();
    let mut open = Vec::new();
    let mut clauses = 0;
    let mut token = first;
    loop {
        let spelled = &text[token.range.clone()];
        if token.range.end - start > POLICY_BYTES_MAX {
            return Err(PolicyProblem::PolicyTooLong { line });
        }
        if seen.len() == POLICY_TOKENS_MAX {
            return Err(PolicyProblem::TooManyTokens { line });
        }
        let clause = open.is_empty() && matches!(spelled, "when" | "unless");
        clauses += usize::from(clause);
        brackets(&mut open, spelled, token.line)?;
        seen.push(spelled);
        if let Some(name) = function(&seen) {
            return Err(PolicyProblem::Function { line: token.line, name: message(&name) });
        }
        if spelled == ";" && open.is_empty() {
            let id = id(&seen).ok_or(PolicyProblem::NoId { line })?;
            return Ok(Piece { id, line, clauses, text: &text[start..token.range.end] });
        }
        token = tokens.next_token()?.ok_or(PolicyProblem::Unfinished { line })?;
    }
}

/// Keeps the brackets that wait to be closed.
fn brackets(open: &mut Vec<&'static str>, spelled: &str, line: usize) -> Result<(), PolicyProblem> {
    let closing = match spelled {
        "(" => ")",
        "[" => "]",
        "{" => "}",
        ")" | "]" | "}" if open.pop() == Some(spelled) => return Ok(()),
        ")" => return Err(PolicyProblem::Unbalanced { line, bracket: ')' }),
        "]" => return Err(PolicyProblem::Unbalanced { line, bracket: ']' }),
        "}" => return Err(PolicyProblem::Unbalanced { line, bracket: '}' }),
        _ => return Ok(()),
    };
    if open.len() == BRACKETS_MAX {
        return Err(PolicyProblem::TooDeep { line });
    }
    open.push(closing);
    Ok(())
}

/// The function that is called where the last token opens the call. Functions make values of
/// extensions (addresses, decimals, dates), and only they: without them there are none. The
/// engine may have been built with extensions that none of its users asked for.
fn function<'t>(tokens: &[&'t str]) -> Option<&'t str> {
    let (before, name) = match tokens {
        [.., before, name, "("] => (*before, *name),
        [name, "("] => ("", *name),
        _ => return None,
    };
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (named && !matches!(before, "." | "@") && !KEYWORDS.contains(&name)).then_some(name)
}

/// What the annotation `@id("...")` among those at the beginning says, if it is a plain name.
fn id<'t>(tokens: &[&'t str]) -> Option<&'t str> {
    let mut rest = tokens;
    loop {
        rest = match rest {
            ["@", "id", "(", id, ")", ..] => return plain(id.strip_prefix('"')?.strip_suffix('"')?),
            ["@", _, "(", _, ")", rest @ ..] | ["@", _, rest @ ..] => rest,
            _ => return None,
        };
    }
}

fn plain(id: &str) -> Option<&str> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    ((1..=ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(allowed)).then_some(id)
}

struct Token {
    range: Range<usize>,
    line: usize,
}

struct Tokens<'t> {
    text: &'t str,
    at: usize,
    line: usize,
}

impl Tokens<'_> {
    /// The next token, behind blanks and comments.
    fn next_token(&mut self) -> Result<Option<Token>, PolicyProblem> {
        self.skip()?;
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let line = self.line;
        let length = match first {
            '"' => string_length(rest, line)?,
            'a'..='z' | 'A'..='Z' | '_' => length_of(rest, |c| c.is_ascii_alphanumeric() || c == '_'),
            '0'..='9' => length_of(rest, |c| c.is_ascii_digit()),
            '(' | ')' | '[' | ']' | '{' | '}' => 1,
            '?' => return Err(PolicyProblem::Template { line }),
            _ if PAIRS.iter().any(|pair| rest.starts_with(pair)) => 2,
            _ if SIGNS.contains(first) => 1,
            character => return Err(PolicyProblem::Character { line, character }),
        };
        let range = self.at..self.at + length;
        self.at = range.end;
        Ok(Some(Token { range, line }))
    }

    /// Moves behind blanks and comments, and counts lines.
    fn skip(&mut self) -> Result<(), PolicyProblem> {
        let mut comment = false;
        while let Some(c) = self.text[self.at..].chars().next() {
            match c {
                // Cedar ends comments at either.
                '\n' | '\r' => comment = false,
                ' ' | '\t' => {}
                _ if comment && is_unseen(c) => return Err(PolicyProblem::Character { line: self.line, character: c }),
                _ if comment => {}
                '/' if self.text[self.at..].starts_with("//") => comment = true,
                _ => return Ok(()),
            }
            self.line += usize::from(c == '\n');
            self.at += c.len_utf8();
        }
        Ok(())
    }
}

fn length_of(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Bytes of the string at the beginning of a text, with its quotes.
fn string_length(text: &str, line: usize) -> Result<usize, PolicyProblem> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => break,
            ' '..='~' if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            ' '..='~' => {}
            character => return Err(PolicyProblem::Character { line, character }),
        }
    }
    Err(PolicyProblem::OpenString { line })
}

/// Characters that make a text look other than it is: controls, and those that turn the
/// direction of writing or have no width.
fn is_unseen(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    c.is_control() || turns || c == '\u{feff}'
}

#[cfg(test)]
mod tests;
