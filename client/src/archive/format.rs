//! Reading and writing archives, one entry at a time. Bounded memory: an
//! entry's length is checked before anything is reserved for it.

use std::io::{ErrorKind, Read, Write};

use bytes::BytesMut;
use consilium_proto::limits::ARCHIVE_FORMAT;
use consilium_proto::pb;
use prost::Message;

/// First bytes of every archive.
pub const MAGIC: &[u8; 8] = b"CNSLARC1";
/// Bytes of the longest entry: a block at the ledger's hard limit with room
/// for its frame.
pub const ENTRY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What is reserved before the bytes are there; a length alone reserves no more.
const RESERVE_MAX: u64 = 1024 * 1024;

/// An archive that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// It does not start with [`MAGIC`].
    #[error("is not an archive of a Consilium ledger")]
    NotAnArchive,
    /// It ends inside an entry.
    #[error("ends in the middle of entry {entry}")]
    Truncated {
        /// Position of the entry, from 0.
        entry: u64,
    },
    /// The length of an entry is malformed or too large.
    #[error("entry {entry} has a length outside 1 to {ENTRY_BYTES_MAX}")]
    Length {
        /// Position of the entry.
        entry: u64,
    },
    /// An entry is not an `ArchiveEntry`.
    #[error("entry {entry} is malformed")]
    Malformed {
        /// Position of the entry.
        entry: u64,
    },
    /// The stream failed.
    #[error("{0}")]
    Io(String),
}

/// Reads entries.
#[derive(Debug)]
pub struct ArchiveReader<R> {
    input: R,
    started: bool,
    entry: u64,
    bytes: u64,
}

impl<R: Read> ArchiveReader<R> {
    /// A reader over a buffered input.
    pub fn new(input: R) -> Self {
        Self { input, started: false, entry: 0, bytes: 0 }
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The next entry; `None` at the end of the stream between two entries.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn next_entry(&mut self) -> Result<Option<pb::archive_entry::Entry>, ArchiveError> {
        if !self.started {
            let mut magic = [0; MAGIC.len()];
            self.fill(&mut magic).map_err(|_| ArchiveError::NotAnArchive)?;
            if magic != *MAGIC {
                return Err(ArchiveError::NotAnArchive);
            }
            self.started = true;
        }
        let Some(length) = self.length()? else { return Ok(None) };
        let malformed = ArchiveError::Malformed { entry: self.entry };
        let body = self.body(length)?;
        let entry = pb::ArchiveEntry::decode(body.freeze()).map_err(|_| malformed.clone())?;
        self.entry += 1;
        entry.entry.map(Some).ok_or(malformed)
    }

    /// A varint, at most five bytes long here; `None` at the end of the stream.
    fn length(&mut self) -> Result<Option<u64>, ArchiveError> {
        let refused = ArchiveError::Length { entry: self.entry };
        let mut length = 0u64;
        for shift in (0..35).step_by(7) {
            let mut byte = [0];
            match self.fill(&mut byte) {
                Err(ArchiveError::Truncated { .. }) if shift == 0 => return Ok(None),
                other => other?,
            }
            length |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] & 0x80 == 0 {
                // A longer spelling of the same number would be a second file
                // with the same contents.
                let shortest = shift == 0 || byte[0] != 0;
                let allowed = shortest && (1..=ENTRY_BYTES_MAX).contains(&length);
                return if allowed { Ok(Some(length)) } else { Err(refused) };
            }
        }
        Err(refused)
    }

    fn body(&mut self, length: u64) -> Result<BytesMut, ArchiveError> {
        let mut body = BytesMut::new();
        let mut left = length;
        while left > 0 {
            let part =
                usize::try_from(left.min(RESERVE_MAX)).map_err(|_| ArchiveError::Length { entry: self.entry })?;
            let start = body.len();
            body.resize(start + part, 0);
            self.fill(&mut body[start..])?;
            left -= part as u64;
        }
        Ok(body)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.input.read_exact(buffer).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => ArchiveError::Truncated { entry: self.entry },
            _ => ArchiveError::Io(e.to_string()),
        })?;
        self.bytes += buffer.len() as u64;
        Ok(())
    }
}

/// Writes entries. [`Self::finish`] makes the archive complete.
#[derive(Debug)]
pub struct ArchiveWriter<W> {
    output: W,
    height: u64,
    rows: u64,
}

impl<W: Write> ArchiveWriter<W> {
    /// Starts an archive of a ledger.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn new(mut output: W, genesis: pb::GenesisDocument) -> Result<Self, ArchiveError> {
        output.write_all(MAGIC).map_err(io)?;
        let mut writer = Self { output, height: 0, rows: 0 };
        let header = pb::ArchiveHeader { format_version: ARCHIVE_FORMAT, genesis: Some(genesis) };
        writer.put(pb::archive_entry::Entry::Header(header))?;
        Ok(writer)
    }

    /// Appends a block.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn block(&mut self, block: pb::ArchiveBlock) -> Result<(), ArchiveError> {
        self.height = block.block.as_ref().and_then(|b| b.header.as_ref()).map_or(self.height, |h| h.height);
        self.put(pb::archive_entry::Entry::Block(block))
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn row(&mut self, row: pb::ArchiveRow) -> Result<(), ArchiveError> {
        self.rows += 1;
        self.put(pb::archive_entry::Entry::Row(row))
    }

    /// Writes the end and gives the output back, flushed.
    ///
    /// # Errors
    /// [`ArchiveError::Io`].
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        let end = pb::ArchiveEnd { height: self.height, rows: self.rows };
        self.put(pb::archive_entry::Entry::End(end))?;
        self.output.flush().map_err(io)?;
        Ok(self.output)
    }

    fn put(&mut self, entry: pb::archive_entry::Entry) -> Result<(), ArchiveError> {
        let bytes = pb::ArchiveEntry { entry: Some(entry) }.encode_length_delimited_to_vec();
        self.output.write_all(&bytes).map_err(io)
    }
}

fn io(error: std::io::Error) -> ArchiveError {
    ArchiveError::Io(error.to_string())
}
