//! Files of an import: found in folders, read document by document. Symbolic
//! links and hidden files inside folders are passed over, so that an import
//! never leaves the folder it was given. What is compressed is held against the same
//! limits once it is not.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use super::{BundlePolicy, Event};
use crate::fhir::validate::Validator;
use crate::fhir::{Content, FILE_BYTES_MAX, FhirError, FhirProblem, Home, Resource, Split, examine, examine_line};

/// Why a file with other JSON is passed over.
pub const NOT_FHIR: &str = "not a FHIR resource";
const TOO_LARGE: &str = "larger than a document may be";
/// Bytes of a line of NDJSON; it may be a Bundle.
const LINE_BYTES_MAX: u64 = 64 * 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// How a file holds documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One document (`.json`).
    Json,
    /// One document a line (`.ndjson`).
    Ndjson,
}

/// A file to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// By its extension.
    pub format: Format,
    /// Compressed by gzip (`.gz`).
    pub gzip: bool,
    /// Bytes, as they lie on the disk.
    pub bytes: u64,
}

/// What was found in files and folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// To be imported.
    pub files: Vec<SourceFile>,
    /// In the folders, but of another extension.
    pub others: Vec<PathBuf>,
    /// Hidden files and folders, passed over.
    pub hidden: usize,
    /// Symbolic links in the folders, not followed.
    pub links: usize,
}

/// Extensions of files that are imported, for people.
pub const EXTENSIONS: &str = ".json, .ndjson, .json.gz or .ndjson.gz";

/// A document and the file it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its resources belong together: they come from one Bundle.
    pub is_bundle: bool,
    /// With their exact bytes.
    pub resources: Vec<Resource>,
}

/// Finds all files, in order of their names, so that two runs see them alike.
/// Paths named by the caller are followed if they are links.
///
/// # Errors
/// A path that cannot be read, with what the system said; a file named by the caller that
/// is of another extension.
pub fn find(paths: &[PathBuf]) -> Result<Found, (PathBuf, String)> {
    let mut out = Found::default();
    for path in paths {
        let metadata = std::fs::metadata(path).map_err(|e| (path.clone(), e.to_string()))?;
        if metadata.is_dir() {
            walk(path, &mut out)?;
        } else {
            let file = source_file(path.clone(), metadata.len());
            out.files.push(file.map_err(|path| (path, format!("is no {EXTENSIONS} file")))?);
        }
    }
    Ok(out)
}

fn walk(folder: &Path, out: &mut Found) -> Result<(), (PathBuf, String)> {
    let failed = |e: std::io::Error| (folder.to_owned(), e.to_string());
    let mut entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // The entry's own type: links are not followed.
        let file_type = entry.file_type().map_err(failed)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            out.hidden += 1;
        } else if file_type.is_symlink() {
            out.links += 1;
        } else if file_type.is_dir() {
            walk(&path, out)?;
        } else if file_type.is_file() {
            match source_file(path, entry.metadata().map_err(failed)?.len()) {
                Ok(file) => out.files.push(file),
                Err(path) => out.others.push(path),
            }
        } else {
            out.others.push(path);
        }
    }
    Ok(())
}

/// The file by its extension; the path again if it has another one.
fn source_file(path: PathBuf, bytes: u64) -> Result<SourceFile, PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let (name, gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |name| (name, true));
    let format = match name.rsplit_once('.') {
        Some((_, "json")) => Format::Json,
        Some((_, "ndjson")) => Format::Ndjson,
        Some(_) | None => return Err(path),
    };
    Ok(SourceFile { path, format, gzip, bytes })
}

/// Reads a file and hands out its documents; what is wrong with it goes to
/// `notify`. Returns early when `take` wants no more.
pub fn read_documents(
    file: &SourceFile,
    rules: Rules<'_>,
    notify: &mut dyn FnMut(Event),
    take: &mut dyn FnMut(Document) -> bool,
) {
    let mut reader = Reader { file, rules, notify };
    let result = match file.format {
        Format::Json => reader.json(take),
        Format::Ndjson => reader.ndjson(take),
    };
    if let Err(e) = result {
        notify(Event::Unreadable { path: file.path.clone(), cause: e.to_string() });
    }
    notify(Event::Read { bytes: file.bytes });
}

/// By what documents are judged.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Whose documents they are.
    pub home: &'a Home,
    /// What becomes of a Bundle of which some resources cannot be taken.
    pub policy: BundlePolicy,
    /// Whether they are valid FHIR.
    pub validator: &'a Validator,
}

struct Reader<'a, 'n> {
    file: &'a SourceFile,
    rules: Rules<'a>,
    notify: &'n mut dyn FnMut(Event),
}

impl Reader<'_, '_> {
    /// The file's content. Whoever reads bounds it: a small file may become a large one.
    fn open(&self) -> std::io::Result<Box<dyn Read>> {
        let file = File::open(&self.file.path)?;
        Ok(if self.file.gzip { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) })
    }

    fn json(&mut self, take: &mut dyn FnMut(Document) -> bool) -> std::io::Result<()> {
        if self.file.bytes > FILE_BYTES_MAX {
            return Err(std::io::Error::other(TOO_LARGE));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(self.file.bytes).unwrap_or(0));
        // One more than allowed: what is compressed says too late how much it is.
        self.open()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(std::io::Error::other(TOO_LARGE));
        }
        let bytes = Bytes::from(bytes);
        match self.judged(&bytes, 1, examine(&bytes, self.rules.home)) {
            Ok(Split { content: Content::NotFhir, .. }) => self.skipped(),
            Ok(found) => {
                self.hand_out(found, take);
            }
            Err(error) => self.refused(error),
        }
        Ok(())
    }

    fn ndjson(&mut self, take: &mut dyn FnMut(Document) -> bool) -> std::io::Result<()> {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, self.open()?);
        let mut any_resource = false;
        let mut strangers = Vec::new();
        for number in 1.. {
            let mut line = Vec::new();
            if (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() as u64 == LINE_BYTES_MAX {
                return Err(std::io::Error::other(TOO_LARGE));
            }
            let text = Bytes::from(line);
            if text.trim_ascii().is_empty() {
                continue;
            }
            match self.judged(&text, number, examine_line(&text, self.rules.home, number)) {
                Ok(Split { content: Content::NotFhir, .. }) => strangers.push(number),
                Ok(found) => {
                    any_resource = true;
                    if !self.hand_out(found, take) {
                        return Ok(());
                    }
                }
                Err(error) => {
                    any_resource = true;
                    self.refused(error);
                }
            }
        }
        if !any_resource {
            self.skipped();
            return Ok(());
        }
        // Among resources, a line that is none is a damaged line.
        for line in strangers {
            let problem = FhirProblem::Type { expected: "a FHIR resource" };
            self.refused(FhirError { line, path: String::new(), problem });
        }
        Ok(())
    }

    /// Hands a document out, or what of it may be taken. Returns whether more is wanted.
    fn hand_out(&mut self, found: Split, take: &mut dyn FnMut(Document) -> bool) -> bool {
        let Split { content, resources, faults, entries_refused: refused, passed_over } = found;
        let path = &self.file.path;
        if !passed_over.is_empty() {
            (self.notify)(Event::PassedOver { path: path.clone(), entries: passed_over });
        }
        for error in faults {
            (self.notify)(Event::EntryRefused { path: path.clone(), error });
        }
        if let (Content::Bundle(kind), 1..) = (content, refused) {
            let (path, taken) = (path.clone(), resources.len());
            if self.rules.policy.takes_all_or_none(kind) {
                (self.notify)(Event::BundleRefused { path, kind, refused, others: taken });
                return true;
            }
            (self.notify)(Event::BundleInPart { path, kind, refused, taken });
        }
        take(Document { is_bundle: matches!(content, Content::Bundle(_)), resources })
    }

    /// Tells what is not valid FHIR, and refuses it if it shall be refused.
    fn judged(&mut self, bytes: &[u8], line: usize, split: Result<Split, FhirError>) -> Result<Split, FhirError> {
        let (judged, report) = self.rules.validator.judge(bytes, line, split);
        if report.count() > 0 {
            (self.notify)(Event::NotValid { path: self.file.path.clone(), report });
        }
        judged
    }

    fn skipped(&mut self) {
        (self.notify)(Event::Skipped { path: self.file.path.clone(), reason: NOT_FHIR });
    }

    fn refused(&mut self, error: FhirError) {
        (self.notify)(Event::Refused { path: self.file.path.clone(), error });
    }
}
