//! What tells who a patient is, or what ails it, is never an argument: arguments are seen by every
//! process of a machine, and shells keep them. It comes from a file, from standard input, or is asked
//! for.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use consilium_client::{ClientError, files};
use zeroize::Zeroizing;

use crate::CliError;

/// Standard input, as a file.
const STDIN: &str = "-";
/// Bytes of a line.
const LINE_BYTES_MAX: u64 = 4096;

/// The one line of a file; of `-` the next line of standard input, for which a person is asked.
pub(crate) fn line(file: &Path, what: &'static str) -> Result<Zeroizing<String>, CliError> {
    if file != Path::new(STDIN) {
        let bytes = Zeroizing::new(files::read(file, LINE_BYTES_MAX)?);
        return only_line(&bytes).map_err(|problem| ClientError::file(file, problem).into());
    }
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if stdin.is_terminal() {
        let asked = write!(stderr, "{what}: ").and_then(|()| stderr.flush());
        asked.map_err(|e| CliError::failed(format!("terminal: {e}")))?;
    }
    next_line(&mut stdin.lock()).map_err(|problem| CliError::usage(format!("standard input {problem}")))
}

/// The first line of several belongs to this value, the next one to the next.
fn next_line(input: &mut dyn BufRead) -> Result<Zeroizing<String>, &'static str> {
    let mut bytes = Zeroizing::new(Vec::new());
    // Without a bound, an endless line would fill the memory.
    let mut bounded = std::io::Read::take(input, LINE_BYTES_MAX);
    bounded.read_until(b'\n', &mut bytes).map_err(|_| "cannot be read")?;
    only_line(&bytes)
}

/// Says what is wrong, never what is in it.
fn only_line(bytes: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(Zeroizing::new(line.to_owned())),
        (None, _) => Err("holds no line"),
        (Some(_), Some(_)) => Err("holds more than one line"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_holds_one_line_and_errors_do_not_repeat_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("patient.txt");
        let read = |text: &[u8]| {
            std::fs::write(&file, text).unwrap();
            line(&file, "patient")
        };
        assert_eq!(read(b"  urn:oid:1.2|4711\r\n\n").unwrap().as_str(), "urn:oid:1.2|4711");
        for bad in [&b""[..], b"\n \n", b"4711\n4712\n", b"\xff4711"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("patient.txt") && !error.contains("471"), "{error}");
        }
        assert!(line(&folder.path().join("none"), "patient").is_err());
    }

    #[test]
    fn standard_input_is_read_line_by_line() {
        let mut input = &b"Patient/1\ncode=http://loinc.org|718-7\n"[..];
        assert_eq!(next_line(&mut input).unwrap().as_str(), "Patient/1");
        assert_eq!(next_line(&mut input).unwrap().as_str(), "code=http://loinc.org|718-7");
        assert!(next_line(&mut input).is_err(), "there is none");
    }
}
