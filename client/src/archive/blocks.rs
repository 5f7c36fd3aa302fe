//! The chain: headers, the ledger's tree, transactions, certificates.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use consilium_certs::IdentityCertificate;
use consilium_certs::contract::certificate_key;
use consilium_proto::error::FieldError;
use consilium_proto::genesis::Genesis;
use consilium_proto::header::{Header, Leaf};
use consilium_proto::ids::{Epoch, HeaderHash, Height, NodeId, TransactionId};
use consilium_proto::limits::VALIDITY_AHEAD_MAX_MS;
use consilium_proto::merkle::Frontier;
use consilium_proto::pb::{self, Outcome};
use consilium_proto::signing::VerifyingKey;
use consilium_proto::transaction::{Enroll, Transaction, signature_hash};
use consilium_proto::vote::BlockCertificate;

use super::authors::{Authors, Signed};
use super::epochs::Epochs;
use super::events::Requests;
use super::failure::VerifyFailure;
use super::report::Counts;

/// Headers kept to check the certificates that later blocks carry.
const HEADERS_KEPT: u64 = 16_384;

/// The chain as far as it was verified.
#[derive(Debug)]
pub(super) struct Chain {
    genesis: Genesis,
    epochs: Epochs,
    authors: Authors,
    frontier: Frontier,
    headers: BTreeMap<Height, Header>,
    tip: Option<(Header, HeaderHash)>,
    // Only asked whether it holds an id, never iterated.
    seen: HashSet<TransactionId>,
    /// Requests for access, whose events are in the logs.
    pub(super) requests: Requests,
    pub(super) certified: Option<Height>,
    pub(super) counts: Counts,
}

/// A transaction of a block.
struct Executed {
    transaction: Transaction,
    outcome: Outcome,
}

impl Chain {
    pub(super) fn new(genesis: Genesis) -> Result<Self, FieldError> {
        Ok(Self {
            authors: Authors::new(&genesis),
            epochs: Epochs::new(&genesis)?,
            genesis,
            frontier: Frontier::new(),
            headers: BTreeMap::new(),
            tip: None,
            seen: HashSet::new(),
            requests: Requests::default(),
            certified: None,
            counts: Counts::default(),
        })
    }

    /// The newest verified header and its hash.
    pub(super) fn tip(&self) -> Option<&(Header, HeaderHash)> {
        self.tip.as_ref()
    }

    /// The epochs so far.
    pub(super) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// Verifies all signatures that still wait.
    pub(super) fn flush(&mut self) -> Result<(), VerifyFailure> {
        self.counts.signatures += self.authors.flush()?;
        Ok(())
    }

    /// Verifies the next block.
    pub(super) fn block(&mut self, entry: &pb::ArchiveBlock) -> Result<(), VerifyFailure> {
        let expected = self.tip.as_ref().map_or(Height::GENESIS, |(header, _)| header.height.next());
        let malformed = |error| VerifyFailure::Malformed { height: expected, error };
        let block = entry.block.as_ref().ok_or_else(|| malformed(FieldError::missing("block")))?;
        let header = block.header.as_ref().ok_or_else(|| malformed(FieldError::missing("block.header")))?;
        let header = Header::try_from(header).map_err(|e| malformed(e.within("block.header")))?;
        if header.ledger_id != self.genesis.ledger_id {
            return Err(VerifyFailure::OtherLedger { expected: self.genesis.ledger_id, found: header.ledger_id });
        }
        if header.height != expected {
            return Err(VerifyFailure::Height { expected, found: header.height });
        }
        match &self.tip {
            None => self.check_genesis(&header, block)?,
            Some((parent, hash)) => check_link(&header, parent, *hash)?,
        }
        self.check_first_leaf(&header, block)?;
        let transactions = self.transactions(&header, block)?;
        self.check_tree(&header)?;
        for transaction in &transactions {
            self.check_author(&header, transaction)?;
        }
        self.check_attachments(&header, &transactions, &entry.attachments)?;
        self.remember(header.clone());
        let observed = block.observed_certificate.as_ref();
        for certificate in observed.into_iter().chain(&entry.certificate) {
            self.check_certificate(expected, certificate)?;
        }
        self.check_own_certificate(expected, entry)?;
        self.epochs.block(header, entry)?;
        self.counts.set_changes = self.epochs.changes();
        self.counts.blocks += 1;
        Ok(())
    }

    fn check_genesis(&self, header: &Header, block: &pb::Block) -> Result<(), VerifyFailure> {
        let differs = |what| Err(VerifyFailure::GenesisHeader { what });
        let set = self.epochs.founders().hash();
        // Its state root is what later certificates, over headers that follow
        // from this one, vouch for.
        if header.previous_hash != HeaderHash::from_bytes([0; 32]) {
            return differs("previous_hash");
        }
        if (header.time, header.epoch, header.proposer) != (self.genesis.time, Epoch(0), NodeId(0)) {
            return differs("time, epoch or proposer");
        }
        if header.validators_hash != set || header.next_validators_hash != set {
            return differs("validators");
        }
        if !block.transactions.is_empty() || block.observed_certificate.is_some() {
            return differs("transactions");
        }
        Ok(())
    }

    fn check_first_leaf(&mut self, header: &Header, block: &pb::Block) -> Result<(), VerifyFailure> {
        let (height, expected, found) = (header.height, self.frontier.size(), block.first_leaf);
        if found != expected {
            return Err(VerifyFailure::Count { height, what: "first_leaf", expected, found });
        }
        if height == Height::GENESIS {
            for leaf in Leaf::genesis(self.genesis.ledger_id) {
                self.append(&leaf)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, leaf: &Leaf) -> Result<(), VerifyFailure> {
        // 2^63 leaves cannot be in a file.
        self.frontier.append(leaf.hash()).map(drop).map_err(|_| VerifyFailure::Structure("has too many leaves"))
    }

    fn transactions(&mut self, header: &Header, block: &pb::Block) -> Result<Vec<Executed>, VerifyFailure> {
        let height = header.height;
        let mut out = Vec::with_capacity(block.transactions.len());
        for (i, executed) in block.transactions.iter().enumerate() {
            let place = format!("block.transactions[{i}]");
            let transaction = parse(executed, &self.genesis)
                .map_err(|e| VerifyFailure::Malformed { height, error: e.within(&place) })?;
            let Executed { transaction: Transaction { id, signature, .. }, outcome } = &transaction;
            if !self.seen.insert(*id) {
                return Err(VerifyFailure::Twice { height, transaction: *id });
            }
            let signature_hash = signature_hash(signature);
            self.append(&Leaf { transaction_id: *id, height, outcome: *outcome, signature_hash })?;
            self.counts.transactions += 1;
            self.counts.applied += u64::from(*outcome == Outcome::Applied);
            out.push(transaction);
        }
        Ok(out)
    }

    fn check_tree(&self, header: &Header) -> Result<(), VerifyFailure> {
        let height = header.height;
        let (expected, found) = (self.frontier.size(), header.tree_size);
        if found != expected {
            return Err(VerifyFailure::Count { height, what: "tree_size", expected, found });
        }
        let computed = self.frontier.root();
        if header.tree_root != computed {
            return Err(VerifyFailure::TreeRoot { height, computed, found: header.tree_root });
        }
        Ok(())
    }

    fn check_author(&mut self, header: &Header, t: &Executed) -> Result<(), VerifyFailure> {
        let (height, transaction) = (header.height, &t.transaction);
        check_validity(header, t)?;
        if let Some(enrollment) = transaction.enrollment() {
            return self.check_enrollment(header, t, enrollment);
        }
        let key = self.authors.key(&transaction.head.author).cloned();
        let key = key.ok_or(VerifyFailure::UnknownAuthor { height, transaction: transaction.id })?;
        self.queue(height, transaction, key)?;
        if t.outcome == Outcome::Applied {
            self.authors.learn_bundles(&transaction.encoded);
            if let Some(reader) = self.authors.name(&transaction.head.author) {
                self.requests.asked(header, reader, transaction);
            }
        }
        Ok(())
    }

    fn check_enrollment(&mut self, header: &Header, t: &Executed, enrollment: &Enroll) -> Result<(), VerifyFailure> {
        let (height, transaction) = (header.height, &t.transaction);
        let key = if t.outcome == Outcome::Applied {
            let refused = |cause| VerifyFailure::Enrolment { height, transaction: transaction.id, cause };
            self.counts.enrolments += 1;
            Some(self.authors.enroll(enrollment, header.time).map_err(refused)?)
        } else {
            let leaf = enrollment.chain.first();
            leaf.and_then(|der| certificate_key(&IdentityCertificate::parse(der).ok()?))
        };
        match key {
            Some(key) => self.queue(height, transaction, key),
            // Refused because nobody could have signed it.
            None => {
                self.counts.signatures_immaterial += 1;
                Ok(())
            }
        }
    }

    fn queue(&mut self, height: Height, t: &Transaction, key: VerifyingKey) -> Result<(), VerifyFailure> {
        let (message, signature) = (t.head.signing_bytes(), t.signature);
        self.counts.signatures += self.authors.push(Signed { height, transaction: t.id, key, message, signature })?;
        Ok(())
    }

    fn check_attachments(
        &mut self,
        header: &Header,
        transactions: &[Executed],
        found: &[Bytes],
    ) -> Result<(), VerifyFailure> {
        let height = header.height;
        let applied = transactions.iter().filter(|t| t.outcome == Outcome::Applied);
        let attached = applied.flat_map(|t| t.transaction.attachments.iter().map(|a| (t.transaction.id, a.commitment)));
        let commitments: Vec<_> = attached.collect();
        if found.is_empty() {
            self.counts.blocks_without_attachments += u64::from(!commitments.is_empty());
            return Ok(());
        }
        if found.len() != commitments.len() {
            return Err(VerifyFailure::AttachmentCount { height, expected: commitments.len(), found: found.len() });
        }
        for (index, (bytes, (transaction, commitment))) in found.iter().zip(commitments).enumerate() {
            if bytes.is_empty() {
                self.counts.attachments_erased += 1;
                continue;
            }
            if commitment.check(bytes).is_err() {
                return Err(VerifyFailure::Attachment { height, transaction, index });
            }
            self.counts.attachments += 1;
        }
        Ok(())
    }

    fn remember(&mut self, header: Header) {
        let oldest_kept = header.height.0.saturating_sub(HEADERS_KEPT);
        while self.headers.first_key_value().is_some_and(|(height, _)| height.0 < oldest_kept) {
            self.headers.pop_first();
        }
        let hash = header.hash();
        self.headers.insert(header.height, header.clone());
        self.tip = Some((header, hash));
    }

    /// Verifies a certificate found at `height` over any kept header up to it.
    fn check_certificate(&mut self, height: Height, m: &pb::BlockCertificate) -> Result<(), VerifyFailure> {
        let certificate = BlockCertificate::try_from(m)
            .map_err(|e| VerifyFailure::Malformed { height, error: e.within("certificate") })?;
        if certificate.height > height {
            let error = consilium_proto::vote::CertificateError::OtherHeader { height: certificate.height };
            return Err(VerifyFailure::Certificate { height, error });
        }
        let Some(header) = self.headers.get(&certificate.height) else { return Ok(()) };
        let validators = self.epochs.validators(certificate.height)?;
        certificate.verify(header, validators).map_err(|error| VerifyFailure::Certificate { height, error })?;
        self.counts.certificates += 1;
        self.certified = self.certified.max(Some(certificate.height));
        Ok(())
    }

    /// The certificate beside a block must be over exactly this block.
    fn check_own_certificate(&self, height: Height, entry: &pb::ArchiveBlock) -> Result<(), VerifyFailure> {
        match &entry.certificate {
            Some(certificate) if certificate.height != height.0 => {
                let error = consilium_proto::vote::CertificateError::OtherHeader { height };
                Err(VerifyFailure::Certificate { height, error })
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn check_link(header: &Header, parent: &Header, parent_hash: HeaderHash) -> Result<(), VerifyFailure> {
    let height = header.height;
    if header.previous_hash != parent_hash {
        return Err(VerifyFailure::PreviousHash { height, expected: parent_hash, found: header.previous_hash });
    }
    if header.time < parent.time {
        return Err(VerifyFailure::Time { height, parent: parent.time.0, found: header.time.0 });
    }
    if header.validators_hash != parent.next_validators_hash {
        return Err(VerifyFailure::Validators { height });
    }
    // An election that seats the same validators again shows in nothing else.
    let next = parent.epoch.0.saturating_add(1);
    let ended = parent.next_validators_hash != parent.validators_hash;
    if header.epoch.0 != next && (ended || header.epoch != parent.epoch) {
        return Err(VerifyFailure::Epoch { height, parent: parent.epoch.0, found: header.epoch.0 });
    }
    Ok(())
}

/// Nothing is executed after its validity, and what is valid for too long is refused for that.
fn check_validity(header: &Header, t: &Executed) -> Result<(), VerifyFailure> {
    let (height, time, until) = (header.height, header.time.0, t.transaction.head.valid_until.0);
    let too_long = until > time.saturating_add(VALIDITY_AHEAD_MAX_MS);
    let refused_as_too_long = t.outcome == Outcome::ValidityTooLong;
    if until < time || (too_long && !refused_as_too_long) {
        return Err(VerifyFailure::Validity { height, transaction: t.transaction.id });
    }
    // What has ended never enters the ledger.
    if t.outcome == Outcome::Expired || (refused_as_too_long && !too_long) {
        return Err(false_refusal(height, t));
    }
    Ok(())
}

fn false_refusal(height: Height, t: &Executed) -> VerifyFailure {
    VerifyFailure::FalseRefusal { height, transaction: t.transaction.id, outcome: t.outcome.as_str_name() }
}

fn parse(m: &pb::ExecutedTransaction, genesis: &Genesis) -> Result<Executed, FieldError> {
    if m.withheld.is_some() {
        return Err(FieldError::malformed("withheld", "is not for archives, which hold all transactions"));
    }
    let wire = m.transaction.as_ref().ok_or_else(|| FieldError::missing("transaction"))?;
    let transaction = Transaction::parse_bare(wire, genesis.ledger_id)?;
    let outcome = Outcome::try_from(m.outcome).ok().filter(|o| *o != Outcome::Unspecified);
    let outcome = outcome.ok_or_else(|| FieldError::malformed("outcome", "is not a known outcome"))?;
    Ok(Executed { transaction, outcome })
}
