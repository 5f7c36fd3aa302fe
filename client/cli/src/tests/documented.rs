//! Every command line in the documents is one that this program takes. A line in a fenced block is
//! parsed whole, with values in the place of names such as PSEUDONYM; of one with `...` in it, and of
//! one in the text, the command and its options must be there.

#![allow(clippy::unwrap_used)]
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser};

use crate::Cli;

/// What documents write for something left out.
const LEFT_OUT: &str = "...";

/// A command line as a document has it.
struct Line {
    place: String,
    words: Vec<String>,
    fenced: bool,
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = docs.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    found.push(root.join("README.md"));
    found.sort();
    found
}

fn lines_of(path: &Path) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let (mut found, mut prose, mut fenced, mut begun) = (Vec::new(), String::new(), false, String::new());
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            prose.push_str(line);
            prose.push('\n');
        } else if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(part);
        } else {
            let whole = std::mem::take(&mut begun) + line;
            let place = format!("{name}:{}", at + 1);
            found.extend(commands(&whole).into_iter().map(|words| Line { place: place.clone(), words, fenced }));
        }
    }
    let spans = prose.split('`').skip(1).step_by(2);
    let spans = spans.flat_map(commands).map(|words| Line { place: name.clone(), words, fenced: false });
    found.extend(spans);
    found
}

/// The calls of `consilium` in a line of a shell.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut calls = vec![Vec::new()];
    for word in words(line) {
        match word.as_str() {
            "&&" | "|" | ";" => calls.push(Vec::new()),
            ">" | "<" | ">>" => break,
            _ => match word.strip_suffix(';') {
                Some(last) => {
                    calls.last_mut().unwrap().push(last.to_owned());
                    calls.push(Vec::new());
                }
                None => calls.last_mut().unwrap().push(word),
            },
        }
    }
    calls.retain(|words| words.len() > 1 && words[0] == "consilium");
    calls
}

/// Words up to a comment; what is between quotes is one word.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            ('#', None) if word.is_none() => break,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, Some(end)) if c == end => quote = None,
            (' ' | '\n' | '\t', None) => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// A value in the place of a name in capitals.
fn example(word: &str) -> String {
    let (id, transaction) = ("01".repeat(16), "05".repeat(32));
    let of_name = |name: &str| match name {
        "PSEUDONYM" | "OTHER" | "PETITION" | "EMERGENCY" | "DISCLOSURE" | "CONSENT" | "RECORD" => Some(id.clone()),
        "TRANSACTION" | "KEY_ID" | "HASH" | "ID" => Some(transaction.clone()),
        "HOSPITAL" | "MEMBER" => Some("a.example".to_owned()),
        "SPIFFE" => Some(format!("spiffe://a.example/patient/{id}")),
        "TIME" => Some("+1d".to_owned()),
        _ => None,
    };
    let (name, behind) = word.split_once(':').map_or((word, String::new()), |(name, rest)| (name, format!(":{rest}")));
    match (of_name(name), word.strip_suffix("/NAME")) {
        (Some(value), _) => value + &behind,
        (None, Some(path)) => format!("{path}/{id}"),
        (None, None) => word.to_owned(),
    }
}

/// Whether the command and all options are there. `Ok(false)`: something was left out.
fn is_there(words: &[String]) -> Result<bool, String> {
    let mut root = Cli::command();
    root.build();
    let (mut command, mut whole, mut words) = (&root, true, words[1..].iter());
    while let Some(word) = words.next() {
        whole &= !word.contains(LEFT_OUT);
        if let Some(option) = word.strip_prefix("--") {
            let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
            let found = command.get_arguments().find(|arg| arg.get_long() == Some(name));
            let found = found.ok_or_else(|| format!("{} has no --{name}", command.get_name()))?;
            if found.get_action().takes_values() && value.is_none() {
                whole &= words.next().is_some_and(|value| !value.contains(LEFT_OUT));
            }
        } else if command.has_subcommands() && !whole {
            return Ok(false);
        } else if command.has_subcommands() {
            let all: Option<Vec<&Command>> = word.split('|').map(|name| command.find_subcommand(name)).collect();
            let all = all.ok_or_else(|| format!("{} has no command {word}", command.get_name()))?;
            if all.len() > 1 {
                return Ok(false);
            }
            command = all[0];
        }
    }
    Ok(whole)
}

#[test]
fn command_lines_in_the_documents_are_taken() {
    let (mut wrong, mut parsed, mut looked_at) = (Vec::new(), 0, 0);
    for line in documents().iter().flat_map(|path| lines_of(path)) {
        looked_at += 1;
        let problem = match is_there(&line.words) {
            Err(problem) => Some(problem),
            Ok(whole) if whole && line.fenced => {
                parsed += 1;
                let words = line.words.iter().map(|word| example(word));
                Cli::try_parse_from(words).err().map(|error| error.to_string())
            }
            Ok(_) => None,
        };
        wrong.extend(problem.map(|problem| format!("{}: {}\n  {problem}", line.place, line.words.join(" "))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(parsed > 80 && looked_at > parsed, "the documents' command lines are not found: {parsed} of {looked_at}");
}

#[test]
fn what_this_program_does_not_take_is_found() {
    let check = |line: &str| is_there(&commands(line)[0]);
    assert_eq!(check("consilium access log PSEUDONYM --since 12:5f0c...   # what came since"), Ok(false));
    assert_eq!(check("consilium --output json access log PSEUDONYM"), Ok(true));
    assert_eq!(check("consilium network init|inspect"), Ok(false));
    for bad in [
        "consilium access lag",
        "consilium network init|found",
        "consilium access log P --nmaes",
        "consilium record query --patient p",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
    let calls = commands("consilium member part ...; A=1 && consilium tx status ID | less # consilium x y");
    assert_eq!(calls, [vec!["consilium", "member", "part", LEFT_OUT], vec!["consilium", "tx", "status", "ID"]]);
    assert_eq!(words("a --reason \"two words\"  'b # c' # d"), ["a", "--reason", "two words", "b # c"]);
}
