//! PEM, read whole or refused.
//!
//! Certificates and keys come from many programs: with comments and bag
//! attributes, with the line ends of other systems, with a byte order mark at
//! each place where files were joined, with one file's last line running into
//! the next one's first. A reader that passes over what it does not understand
//! loses a certificate without a word. This one gives every section of a text,
//! or says in which line one is broken. Text between sections is passed over, as
//! OpenSSL does, unless it looks like a marker that has come to harm.
//!
//! It must never put the content of a file into an error: a file may hold a key.

use std::fmt;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// What a section says that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `CERTIFICATE`, or `X509 CERTIFICATE` of old programs.
    Certificate,
    /// `TRUSTED CERTIFICATE`: OpenSSL's own form, a certificate and what to trust it for.
    TrustedCertificate,
    /// `CERTIFICATE REQUEST`, or `NEW CERTIFICATE REQUEST` of Windows and Java.
    CertificateRequest,
    /// `X509 CRL`.
    RevocationList,
    /// `PRIVATE KEY`: PKCS#8.
    PrivateKey,
    /// `EC PRIVATE KEY`: SEC1.
    EcPrivateKey,
    /// `RSA PRIVATE KEY`.
    RsaPrivateKey,
    /// `ENCRYPTED PRIVATE KEY`, or a key of another form with `Proc-Type: 4,ENCRYPTED`.
    EncryptedPrivateKey,
    /// `PUBLIC KEY`.
    PublicKey,
    /// `EC PARAMETERS`: the name of a curve, which older OpenSSL writes before a key.
    EcParameters,
    /// Any other.
    Other(String),
}

impl Label {
    fn parse(text: &str) -> Self {
        match text {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::CertificateRequest,
            "X509 CRL" => Self::RevocationList,
            "PRIVATE KEY" => Self::PrivateKey,
            "EC PRIVATE KEY" => Self::EcPrivateKey,
            "RSA PRIVATE KEY" => Self::RsaPrivateKey,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedPrivateKey,
            "PUBLIC KEY" => Self::PublicKey,
            "EC PARAMETERS" => Self::EcParameters,
            other => Self::Other(other.to_owned()),
        }
    }

    fn is_private_key(&self) -> bool {
        match self {
            Self::PrivateKey | Self::EcPrivateKey | Self::RsaPrivateKey | Self::EncryptedPrivateKey => true,
            Self::Other(text) => text.ends_with("PRIVATE KEY"),
            Self::Certificate
            | Self::TrustedCertificate
            | Self::CertificateRequest
            | Self::RevocationList
            | Self::PublicKey
            | Self::EcParameters => false,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "CERTIFICATE",
            Self::TrustedCertificate => "TRUSTED CERTIFICATE",
            Self::CertificateRequest => "CERTIFICATE REQUEST",
            Self::RevocationList => "X509 CRL",
            Self::PrivateKey => "PRIVATE KEY",
            Self::EcPrivateKey => "EC PRIVATE KEY",
            Self::RsaPrivateKey => "RSA PRIVATE KEY",
            Self::EncryptedPrivateKey => "ENCRYPTED PRIVATE KEY",
            Self::PublicKey => "PUBLIC KEY",
            Self::EcParameters => "EC PARAMETERS",
            Self::Other(text) => text,
        })
    }
}

/// One section of a PEM text.
#[derive(PartialEq, Eq)]
pub struct Section {
    /// What it says that it holds.
    pub label: Label,
    /// What it holds, wiped when dropped: it may be a key.
    pub der: Zeroizing<Vec<u8>>,
    /// The line of its `-----BEGIN`, from 1.
    pub line: usize,
}

impl fmt::Debug for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Section({} of line {}, {} bytes)", self.label, self.line, self.der.len())
    }
}

/// Why a text is not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// The text is in UTF-16, as some editors of Windows write it.
    #[error("is UTF-16: save it as plain text (ASCII or UTF-8)")]
    Utf16,
    /// A line with a marker in it that is not one from end to end.
    #[error("line {line}: a damaged -----BEGIN or -----END line")]
    Marker {
        /// The line.
        line: usize,
    },
    /// A section that does not end.
    #[error("line {line}: the {label} that begins here does not end: the file is cut off, or two are mixed up")]
    Unended {
        /// Where it begins.
        line: usize,
        /// What it is.
        label: Label,
    },
    /// An end without a beginning.
    #[error("line {line}: -----END without -----BEGIN before it")]
    EndWithoutBegin {
        /// The line.
        line: usize,
    },
    /// A section ends under another name than it began.
    #[error("line {line}: -----END of another kind than the {label} that it ends")]
    LabelsDiffer {
        /// The line of the end.
        line: usize,
        /// How it began.
        label: Label,
    },
    /// What stands in a section is not base64, or is cut off.
    #[error("line {line}: the {label} that begins here is not base64 from end to end")]
    Base64 {
        /// Where the section begins.
        line: usize,
        /// What it is.
        label: Label,
    },
    /// A section with headers that mean something else than a plain value.
    #[error("line {line}: a header inside a section, which is not understood")]
    Header {
        /// The line.
        line: usize,
    },
    /// A section of another kind than the file is for.
    #[error("line {line}: a {found} in a file for a {expected}: put each into a file of its own")]
    Foreign {
        /// Where it begins.
        line: usize,
        /// What it is.
        found: Label,
        /// What was expected.
        expected: Label,
    },
    /// OpenSSL's own form of a certificate.
    #[error(
        "line {line}: a TRUSTED CERTIFICATE, which is OpenSSL's own form: \
         `openssl x509 -in FILE -out NEW_FILE` writes the certificate alone"
    )]
    Trusted {
        /// Where it begins.
        line: usize,
    },
    /// There is no section of the kind.
    #[error("holds no {expected}")]
    Missing {
        /// What was expected.
        expected: Label,
    },
    /// More than the one section that a file is to hold.
    #[error("line {line}: a second {label} in a file for one")]
    Second {
        /// Where it begins.
        line: usize,
        /// What it is.
        label: Label,
    },
    /// A private key that a passphrase protects.
    #[error(
        "line {line}: the private key is encrypted with a passphrase, which a program that starts alone cannot ask \
         for: `openssl pkey -in FILE -out NEW_FILE` writes it without; the new file must be readable to its owner alone"
    )]
    Encrypted {
        /// Where it begins.
        line: usize,
    },
    /// An RSA key.
    #[error("line {line}: an RSA key; keys are on the curve P-256: {NEW_P256_KEY}")]
    Rsa {
        /// Where it begins.
        line: usize,
    },
}

/// How a P-256 key is made, for errors.
pub(crate) const NEW_P256_KEY: &str =
    "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE` makes one";

const BOM: &[u8] = b"\xef\xbb\xbf";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const TAIL: &[u8] = b"-----";
/// What a line holds that is a marker, or was one: a dash may have been lost, and editors make one
/// long dash of two.
const MARKS: [&[u8]; 6] = [
    b"--BEGIN",
    b"--END",
    "\u{2013}BEGIN".as_bytes(),
    "\u{2014}BEGIN".as_bytes(),
    "\u{2013}END".as_bytes(),
    "\u{2014}END".as_bytes(),
];
/// `BEGIN` in UTF-16, from its first letter to its last, in either byte order.
const UTF16_BEGIN: &[u8] = b"B\0E\0G\0I\0N";

/// All sections of a text, in their order; none if there is none.
///
/// # Errors
/// [`PemError`], if anything in it that belongs to a section cannot be read.
pub fn sections(text: &[u8]) -> Result<Vec<Section>, PemError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") || contains(text, UTF16_BEGIN) {
        return Err(PemError::Utf16);
    }
    let mut reader = Reader::default();
    for (index, line) in lines(text).enumerate() {
        reader.take(trimmed(line), index + 1)?;
    }
    match reader.open {
        Some(open) => Err(PemError::Unended { line: open.line, label: Label::parse(&open.label) }),
        None => Ok(reader.done),
    }
}

/// All sections of a text that holds one kind alone; none if there is none.
///
/// # Errors
/// [`PemError`], also if there is a section of another kind.
pub fn all(text: &[u8], expected: &Label) -> Result<Vec<Section>, PemError> {
    let found = sections(text)?;
    for section in &found {
        if section.label == Label::TrustedCertificate && *expected == Label::Certificate {
            return Err(PemError::Trusted { line: section.line });
        }
        if section.label != *expected {
            return Err(PemError::Foreign {
                line: section.line,
                found: section.label.clone(),
                expected: expected.clone(),
            });
        }
    }
    Ok(found)
}

/// The section of a text that holds exactly one, of this kind.
///
/// # Errors
/// [`PemError`].
pub fn one(text: &[u8], expected: &Label) -> Result<Section, PemError> {
    let mut found = all(text, expected)?.into_iter();
    let first = found.next().ok_or_else(|| PemError::Missing { expected: expected.clone() })?;
    match found.next() {
        Some(second) => Err(PemError::Second { line: second.line, label: second.label }),
        None => Ok(first),
    }
}

/// A private key in one of the two forms that are read.
#[derive(Debug)]
pub enum PrivateKey {
    /// PKCS#8 (`PRIVATE KEY`).
    Pkcs8(Zeroizing<Vec<u8>>),
    /// SEC1 (`EC PRIVATE KEY`).
    Sec1(Zeroizing<Vec<u8>>),
}

/// The private key of a text that holds exactly one. `EC PARAMETERS` before it
/// repeat what the key says, and are passed over.
///
/// # Errors
/// [`PemError`]; keys that are encrypted, or RSA, are named.
pub fn private_key(text: &[u8]) -> Result<PrivateKey, PemError> {
    let mut key = None;
    for Section { label, der, line } in sections(text)? {
        let found = match label {
            Label::PrivateKey => PrivateKey::Pkcs8(der),
            Label::EcPrivateKey => PrivateKey::Sec1(der),
            Label::EcParameters => continue,
            Label::EncryptedPrivateKey => return Err(PemError::Encrypted { line }),
            Label::RsaPrivateKey => return Err(PemError::Rsa { line }),
            found @ (Label::Certificate
            | Label::TrustedCertificate
            | Label::CertificateRequest
            | Label::RevocationList
            | Label::PublicKey
            | Label::Other(_)) => return Err(PemError::Foreign { line, found, expected: Label::PrivateKey }),
        };
        if key.replace(found).is_some() {
            return Err(PemError::Second { line, label: Label::PrivateKey });
        }
    }
    key.ok_or(PemError::Missing { expected: Label::PrivateKey })
}

/// How far the headers of a section are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Headers {
    /// The first line decides whether there are any.
    Possible,
    /// Until an empty line.
    Within,
    /// What comes is the value.
    Over,
}

/// A section that has begun.
struct Open {
    label: String,
    line: usize,
    headers: Headers,
    encrypted: bool,
    base64: Zeroizing<Vec<u8>>,
}

impl Open {
    fn take(&mut self, text: &[u8], line: usize) -> Result<(), PemError> {
        match self.headers {
            Headers::Possible | Headers::Within if text.is_empty() => self.headers = Headers::Over,
            Headers::Possible if !text.contains(&b':') => {
                self.headers = Headers::Over;
                self.append(text);
            }
            Headers::Possible | Headers::Within => {
                self.headers = Headers::Within;
                self.take_header(text).ok_or(PemError::Header { line })?;
            }
            Headers::Over => self.append(text),
        }
        Ok(())
    }

    fn append(&mut self, text: &[u8]) {
        self.base64.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
    }

    /// Only the headers of an encrypted private key have a meaning here.
    fn take_header(&mut self, text: &[u8]) -> Option<()> {
        let value = |name: &[u8]| text.strip_prefix(name);
        if value(b"Proc-Type:").is_some_and(|kind| contains(kind, b"ENCRYPTED")) {
            self.encrypted = true;
        }
        let known = self.encrypted && (value(b"Proc-Type:").is_some() || value(b"DEK-Info:").is_some());
        (known && Label::parse(&self.label).is_private_key()).then_some(())
    }

    fn close(self) -> Result<Section, PemError> {
        let label = if self.encrypted { Label::EncryptedPrivateKey } else { Label::parse(&self.label) };
        let text = std::str::from_utf8(&self.base64).ok();
        match text.and_then(|text| Base64::decode_vec(text).ok()).map(Zeroizing::new) {
            Some(der) if !der.is_empty() => Ok(Section { label, der, line: self.line }),
            Some(_) | None => Err(PemError::Base64 { line: self.line, label }),
        }
    }
}

#[derive(Default)]
struct Reader {
    done: Vec<Section>,
    open: Option<Open>,
}

impl Reader {
    fn take(&mut self, text: &[u8], line: usize) -> Result<(), PemError> {
        if MARKS.iter().any(|mark| contains(text, mark)) {
            let markers = markers(text).ok_or(PemError::Marker { line })?;
            return markers.into_iter().try_for_each(|marker| self.mark(marker, line));
        }
        match &mut self.open {
            Some(open) => open.take(text, line),
            None => Ok(()),
        }
    }

    fn mark(&mut self, marker: Marker, line: usize) -> Result<(), PemError> {
        match (marker, self.open.take()) {
            (Marker::Begin(_), Some(open)) => {
                Err(PemError::Unended { line: open.line, label: Label::parse(&open.label) })
            }
            (Marker::Begin(label), None) => {
                let base64 = Zeroizing::new(Vec::new());
                self.open = Some(Open { label, line, headers: Headers::Possible, encrypted: false, base64 });
                Ok(())
            }
            (Marker::End(_), None) => Err(PemError::EndWithoutBegin { line }),
            (Marker::End(label), Some(open)) if label != open.label => {
                Err(PemError::LabelsDiffer { line, label: Label::parse(&open.label) })
            }
            (Marker::End(_), Some(open)) => {
                self.done.push(open.close()?);
                Ok(())
            }
        }
    }
}

enum Marker {
    Begin(String),
    End(String),
}

/// The markers of a line that holds nothing else: one, or two of joined files.
fn markers(line: &[u8]) -> Option<Vec<Marker>> {
    let mut found = Vec::new();
    let mut rest = trimmed(line);
    while !rest.is_empty() {
        let (is_begin, text) = match (rest.strip_prefix(BEGIN), rest.strip_prefix(END)) {
            (Some(text), _) => (true, text),
            (None, Some(text)) => (false, text),
            (None, None) => return None,
        };
        let at = text.windows(TAIL.len()).position(|window| window == TAIL)?;
        let label = std::str::from_utf8(&text[..at]).ok()?.to_owned();
        found.push(if is_begin { Marker::Begin(label) } else { Marker::End(label) });
        rest = trimmed(&text[at + TAIL.len()..]);
    }
    Some(found)
}

/// A line without byte order marks in front and white space around it.
fn trimmed(line: &[u8]) -> &[u8] {
    let mut line = line.trim_ascii();
    while let Some(rest) = line.strip_prefix(BOM) {
        line = rest.trim_ascii();
    }
    line
}

/// Lines that end as on any system: LF, CR LF or CR.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            rest = None;
            return Some(text);
        };
        let width = if text[at..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = Some(&text[at + width..]);
        Some(&text[..at])
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
