//! The verifier: takes an archive's entries in their order and stops at the
//! first thing that is wrong.

use std::io::Read;

use consilium_proto::error::FieldError;
use consilium_proto::genesis::{Genesis, ledger_id};
use consilium_proto::ids::Height;
use consilium_proto::limits::ARCHIVE_FORMAT;
use consilium_proto::pb;
use pb::archive_entry::Entry;

use super::blocks::Chain;
use super::failure::VerifyFailure;
use super::format::ArchiveReader;
use super::report::Report;
use super::rows::Rows;

/// What to insist on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The archive must hold the state, as one written by a node does.
    pub require_state: bool,
}

/// Where in the archive the verifier is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    Blocks,
    Rows,
    End,
}

/// Verifies entries as they come.
#[derive(Debug)]
pub struct Verifier {
    options: Options,
    genesis: Genesis,
    stage: Stage,
    chain: Chain,
    rows: Rows,
    failure: Option<VerifyFailure>,
}

impl Verifier {
    /// A verifier that trusts a genesis document and nothing else.
    ///
    /// # Errors
    /// If the genesis document has no valid validator set.
    pub fn new(genesis: &Genesis, options: Options) -> Result<Self, FieldError> {
        let chain = Chain::new(genesis.clone())?;
        let genesis = genesis.clone();
        Ok(Self { options, genesis, stage: Stage::Start, chain, rows: Rows::default(), failure: None })
    }

    /// Takes the next entry. After a failure further entries are ignored.
    /// Returns whether everything was right so far.
    pub fn entry(&mut self, entry: &Entry) -> bool {
        if self.failure.is_none()
            && let Err(failure) = self.apply(entry)
        {
            self.fail(failure);
        }
        self.failure.is_none()
    }

    /// Notes a failure, or an earlier one that only shows now: signatures are
    /// verified some blocks late.
    fn fail(&mut self, failure: VerifyFailure) {
        let earlier = self.chain.flush().err();
        self.failure = Some(earlier.unwrap_or(failure));
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), VerifyFailure> {
        match (entry, self.stage) {
            (Entry::Header(header), Stage::Start) => {
                self.stage = Stage::Blocks;
                self.header(header)
            }
            (Entry::Block(block), Stage::Blocks) => self.chain.block(block),
            (Entry::Row(row), Stage::Blocks | Stage::Rows) => {
                self.stage = Stage::Rows;
                self.rows.push(row, &mut self.chain.requests)
            }
            (Entry::End(end), Stage::Blocks | Stage::Rows) => {
                self.stage = Stage::End;
                self.end(*end)
            }
            (_, Stage::End) => Err(VerifyFailure::Structure("goes on after its end")),
            (_, Stage::Start) => Err(VerifyFailure::Structure("does not start with its header")),
            (Entry::Header(_) | Entry::Block(_), Stage::Blocks | Stage::Rows) => {
                Err(VerifyFailure::Structure("has entries out of order"))
            }
        }
    }

    fn header(&self, header: &pb::ArchiveHeader) -> Result<(), VerifyFailure> {
        if header.format_version != ARCHIVE_FORMAT {
            return Err(VerifyFailure::Structure("has an unknown format version"));
        }
        let genesis = header.genesis.as_ref().ok_or(VerifyFailure::Structure("has no genesis document"))?;
        let found = ledger_id(&genesis.body);
        if found != self.genesis.ledger_id {
            return Err(VerifyFailure::OtherLedger { expected: self.genesis.ledger_id, found });
        }
        Ok(())
    }

    fn end(&mut self, end: pb::ArchiveEnd) -> Result<(), VerifyFailure> {
        self.chain.flush()?;
        let (header, _) = self.chain.tip().ok_or(VerifyFailure::Structure("has no blocks"))?;
        if end.height != header.height.0 {
            return Err(VerifyFailure::Height { expected: Height(end.height), found: header.height });
        }
        if end.rows != self.rows.count {
            return Err(VerifyFailure::Structure("has another number of rows than its end says"));
        }
        if self.rows.count > 0 {
            self.rows.finish(header)?;
            self.chain.requests.finish()?;
            return self.chain.epochs().check_state(self.rows.elections());
        }
        match self.options.require_state {
            true => Err(VerifyFailure::Structure("does not hold the state")),
            false => Ok(()),
        }
    }

    /// The report. An archive without its end is incomplete.
    #[must_use]
    pub fn finish(mut self) -> Report {
        if self.failure.is_none() && self.stage != Stage::End {
            self.fail(VerifyFailure::Structure("ends without its end entry: it is incomplete"));
        }
        let mut counts = self.chain.counts;
        counts.state_rows = self.rows.state_rows();
        counts.versions = self.rows.versions;
        counts.log_entries = self.rows.log_entries();
        let head = self.chain.tip().map(|(header, hash)| (header.height, *hash, header.state_root, header.time));
        Report {
            ledger_id: self.genesis.ledger_id,
            counts,
            head,
            certified_height: self.chain.certified,
            state_checked: self.failure.is_none() && self.rows.count > 0,
            failure: self.failure,
        }
    }
}

/// Verifies a whole archive. `progress` is told the bytes read so far after
/// each entry.
///
/// # Errors
/// If the genesis document has no valid validator set; everything else is in
/// the report.
pub fn verify_archive<R: Read>(
    input: R,
    genesis: &Genesis,
    options: Options,
    mut progress: impl FnMut(u64),
) -> Result<Report, FieldError> {
    let mut reader = ArchiveReader::new(input);
    let mut verifier = Verifier::new(genesis, options)?;
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                if !verifier.entry(&entry) {
                    break;
                }
            }
            Ok(None) => break,
            Err(e) => {
                verifier.fail(e.into());
                break;
            }
        }
        progress(reader.bytes_read());
    }
    Ok(verifier.finish())
}
