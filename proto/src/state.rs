//! Rows of the authenticated state, in one table: the first byte of the key,
//! the rest of it, the message of the value, who may read it, and words for it.
//! Everything that anyone knows of a row's key is derived from this table; the
//! list at the top of state.proto is compared with it by a test.
//!
//! Numbers are big-endian, so that the order of bytes is the order of values.
//! Changing a key breaks the state root. Rows that are not part of the
//! authenticated state are not here.

use crate::hash::{HASH_LEN, Hash};
use crate::ids::{
    AuthorityId, ConsentId, DisclosureId, EmergencyId, Epoch, Fingerprint, KeyId, NodeId, PatientPseudonym, PetitionId,
    RecordId,
};

mod patients;

pub use patients::{CareName, CustodyName, ListName, SaltName, WrapName, WrapRequestName};

/// Who may ask for a row of the state, and for the proof that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Every enrolled identity of an active member.
    Everyone,
    /// Auditors of any member.
    Auditors,
    /// No one: the key is none of the table's.
    Nobody,
}

/// Makes, of one line for each kind of row, [`StateRow`], [`StateKey`] and the
/// functions of [`keys`].
macro_rules! rows {
    ($(
        $(#[$doc:meta])*
        $tag:literal $Row:ident $(($part:ident: $Part:ty, from $Arg:ty))? = $Value:ident,
        $readers:ident, $words:literal, $key:ident $(, all $all:ident)?;
    )+) => {
        /// A kind of row; the number is the first byte of its keys.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum StateRow {
            $($(#[$doc])* $Row = $tag,)+
        }

        /// The key of a row.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum StateKey {
            $($(#[$doc])* $Row $(($Part))?,)+
        }

        impl StateRow {
            /// All kinds, ascending by their first byte.
            pub const ALL: &[Self] = &[$(Self::$Row),+];

            /// The kind of row that a stored key is of, by its first byte alone.
            #[must_use]
            pub fn of(key: &[u8]) -> Option<Self> {
                match *key.first()? {
                    $($tag => Some(Self::$Row),)+
                    _ => None,
                }
            }

            /// Name of the message that is the row's value.
            #[must_use]
            pub fn message(self) -> &'static str {
                // The message must exist.
                match self { $(Self::$Row => { let _: fn(crate::pb::$Value) = drop; stringify!($Value) })+ }
            }

            /// Who may read it.
            #[must_use]
            pub fn readers(self) -> Readers {
                match self { $(Self::$Row => Readers::$readers,)+ }
            }

            #[cfg(test)]
            fn words(self) -> &'static str {
                match self { $(Self::$Row => $words,)+ }
            }
        }

        impl StateKey {
            /// The kind of row that it is the key of.
            #[must_use]
            pub fn row(&self) -> StateRow {
                match self { $(Self::$Row { .. } => StateRow::$Row,)+ }
            }

            /// Parses a stored key; `None` if it is none of the table's.
            #[must_use]
            pub fn decode(key: &[u8]) -> Option<Self> {
                let (_, rest) = key.split_first()?;
                match StateRow::of(key)? {
                    $(StateRow::$Row => { rows!(@decode rest, $Row $(, $Part)?) })+
                }
            }

            /// The stored key.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                // Most keys are a byte and a hash, or less.
                let mut key = Vec::with_capacity(1 + HASH_LEN);
                key.push(self.row() as u8);
                match self { $(Self::$Row $(($part))? => { $($part.append(&mut key);)? })+ }
                key
            }
        }

        /// Says what the row is about.
        impl std::fmt::Display for StateKey {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self { $(Self::$Row $(($part))? => { $(let $part = $part.shown();)? write!(f, $words) })+ }
            }
        }

        /// Stored keys and, for all rows of a kind, their common prefix.
        pub mod keys {
            use super::*;

            $(
                $(#[$doc])*
                #[must_use]
                pub fn $key($($part: $Arg)?) -> Vec<u8> {
                    StateKey::$Row $(($part.to_owned()))?.encode()
                }

                $(
                    /// Prefix of all rows of this kind.
                    #[must_use]
                    pub fn $all() -> Vec<u8> {
                        vec![$tag]
                    }
                )?
            )+
        }
    };
    (@decode $rest:ident, $Row:ident) => { $rest.is_empty().then_some(Self::$Row) };
    (@decode $rest:ident, $Row:ident, $Part:ty) => { <$Part as KeyPart>::parse($rest).map(Self::$Row) };
}

rows! {
    /// A member organisation.
    0x01 Member(id: String, from &str) = MemberState, Everyone, "member {id}", member, all members;
    /// A node.
    0x02 Node(id: NodeId, from NodeId) = NodeState, Everyone, "node {id}", node, all nodes;
    /// An enrolled signer.
    0x03 Signer(id: Fingerprint, from &Fingerprint) = SignerState, Everyone, "enrolled signer {id}", signer;
    /// A recipient's encryption key.
    0x04 EncryptionKey(id: KeyId, from &KeyId) = EncryptionKeyState, Everyone, "encryption key {id}", encryption_key;
    /// The newest enrolment of an identity.
    0x05 Identity(id: String, from &str) = IdentityState, Everyone, "identity {id}", identity;
    /// A record.
    0x06 Record(id: RecordId, from &RecordId) = RecordState, Auditors, "record {id}", record;
    /// Signers that were enrolled with a certificate.
    0x08 Certificate(name: CertificateName, from &CertificateName) = CertificateIndexState, Everyone,
        "signers of certificate {name}", certificate;
    /// The parameters in force.
    0x09 Parameters = Parameters, Everyone, "parameters", parameters;
    /// How a member's stake is delegated.
    0x0a Stake(member: String, from &str) = StakeState, Everyone, "stake of member {member}", stake;
    /// Who was seen in the current window and epoch.
    0x0b Participation = ParticipationState, Everyone, "participation", participation;
    /// An election's outcome.
    0x0c Epoch(epoch: Epoch, from Epoch) = EpochState, Everyone, "epoch {epoch}", epoch, all epochs;
    /// Which members, nodes and open proposals exist.
    0x0d Roster = RosterState, Everyone, "roster", roster;
    /// A penalty, by its number.
    0x0e Penalty(number: u64, from u64) = PenaltyState, Everyone, "penalty {number}", penalty, all penalties;
    /// A proposal, by its number.
    0x0f Proposal(number: u64, from u64) = ProposalState, Everyone, "proposal {number}", proposal, all proposals;
    /// A version of the access policy.
    0x11 AccessPolicy(version: u32, from u32) = AccessPolicyState, Everyone, "access policy {version}", access_policy;
    /// The version of the rules.
    0x12 Protocol = ProtocolState, Everyone, "protocol version", protocol;
    /// Jailing and announced absence of a node.
    0x13 Standing(node: NodeId, from NodeId) = ValidatorStandingState, Everyone, "standing of node {node}", standing,
        all standings;
    /// Whose vote key a key is, by the SHA-256 of the key.
    0x14 VoteKey(sha256: Hash, from &Hash) = VoteKeyState, Everyone, "owner of vote key {sha256}", vote_key;
    /// What stays of a CA that left its member's bundle.
    0x17 FormerAuthority(name: AuthorityName, from &AuthorityName) = FormerAuthorityState, Everyone,
        "former CA {name}", former_authority;
    /// A patient.
    0x20 Patient(id: PatientPseudonym, from &PatientPseudonym) = PatientState, Auditors, "patient {id}", patient;
    /// A consent.
    0x21 Consent(id: ConsentId, from &ConsentId) = ConsentState, Auditors, "consent {id}", consent;
    /// A patient's consents.
    0x22 ConsentList(id: PatientPseudonym, from &PatientPseudonym) = ConsentListState, Auditors,
        "consents of patient {id}", consent_list;
    /// The log of access to a patient's records.
    0x23 AccessLog(id: PatientPseudonym, from &PatientPseudonym) = LogState, Auditors, "access log of patient {id}",
        access_log;
    /// A list of records.
    0x24 RecordList(name: ListName, from &ListName) = LogState, Auditors, "list of records {name}", record_list;
    /// An emergency.
    0x25 Emergency(id: EmergencyId, from &EmergencyId) = EmergencyState, Auditors, "emergency {id}", emergency;
    /// Reviews that a member owes.
    0x26 ReviewsDue(member: String, from &str) = ReviewsDueState, Auditors, "reviews due of member {member}",
        reviews_due;
    /// A member's custody key.
    0x28 Custody(member: String, from &str) = CustodyState, Everyone, "custody key of member {member}", custody;
    /// A request for a key wrap.
    0x29 WrapRequest(name: WrapRequestName, from &WrapRequestName) = WrapRequestState, Auditors,
        "wrap request {name}", wrap_request;
    /// That a patient is under a member's care.
    0x2a Care(name: CareName, from &CareName) = CareState, Auditors, "care relation {name}", care;
    /// A custodian's list of work.
    0x2b CustodyWork(member: String, from &str) = CustodyWorkState, Auditors, "custody work of member {member}",
        custody_work;
    /// The log of a member's requests for what there is not.
    0x2c UnmatchedLog(member: String, from &str) = LogState, Auditors, "log of unmatched requests of member {member}",
        unmatched_log;
    /// Which lists of records a patient has.
    0x2d RecordLists(id: PatientPseudonym, from &PatientPseudonym) = RecordListsState, Auditors,
        "lists of records of patient {id}", record_lists;
    /// That a version is wrapped for a key beside those for which it was written.
    0x2e Wrap(name: WrapName, from &WrapName) = WrapState, Auditors, "key wrap {name}", wrap_state;
    /// A petition of a patient.
    0x30 Petition(id: PetitionId, from &PetitionId) = PetitionState, Auditors, "petition {id}", petition;
    /// Answers to petitions that a member owes.
    0x31 PetitionsDue(member: String, from &str) = PetitionsDueState, Auditors, "petitions due of member {member}",
        petitions_due;
    /// A disclosure under a legal duty.
    0x32 Disclosure(id: DisclosureId, from &DisclosureId) = DisclosureState, Auditors, "disclosure {id}", disclosure;
    /// The salts under which a member blinds a patient's labels.
    0x33 PatientSalt(name: SaltName, from &SaltName) = PatientSaltState, Auditors, "label salts {name}", patient_salt;
    /// For whom a member acts in custody.
    0x34 CustodyDuties(member: String, from &str) = CustodyDutiesState, Everyone, "custody duties of member {member}",
        custody_duties;
    /// How many versions are wrapped for a key that is, or was, a custody key.
    0x35 CustodyCount(name: CustodyName, from &CustodyName) = CustodyCountState, Auditors,
        "versions wrapped for custody key {name}", custody_count;
    /// How a record has changed.
    0x36 RecordChange(id: RecordId, from &RecordId) = RecordChangeState, Auditors, "changes of record {id}",
        record_change;
}

/// First bytes that no row may take: once named in documents for something else.
pub const RESERVED: [u8; 4] = [0x07, 0x10, 0x15, 0x16];

/// Who may ask for a stored key.
#[must_use]
pub fn readers(key: &[u8]) -> Readers {
    StateRow::of(key).map_or(Readers::Nobody, StateRow::readers)
}

/// What a row of the state is about, in words, by its stored key: for reports
/// and never for rules.
#[must_use]
pub fn describe(key: &[u8]) -> String {
    match StateKey::decode(key) {
        Some(key) => key.to_string(),
        None if key.is_empty() => "an empty key".to_owned(),
        None => format!("unknown key {}", hex::encode(key)),
    }
}

/// Member and key of a CA, which name it. Another member's CA of the same key
/// is another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityName {
    /// SPIFFE trust domain.
    pub member: String,
    /// Its key.
    pub key: AuthorityId,
}

impl AuthorityName {
    /// Names a CA.
    #[must_use]
    pub fn new(member: &str, key: AuthorityId) -> Self {
        Self { member: member.to_owned(), key }
    }

    /// The CA, and what follows it.
    fn split(rest: &[u8]) -> Option<(Self, &[u8])> {
        let (length, rest) = rest.split_first()?;
        let (member, rest) = rest.split_at_checked(usize::from(*length))?;
        let (key, rest) = rest.split_first_chunk::<HASH_LEN>()?;
        let member = String::from_utf8(member.to_vec()).ok()?;
        Some((Self { member, key: AuthorityId::from_bytes(*key) }, rest))
    }
}

/// Issuer and serial number of a certificate, which name it. Nothing of it can
/// be chosen by whoever asks for a certificate, and nothing but the serial
/// number by a CA.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName {
    /// The CA that issued it.
    pub issuer: AuthorityName,
    /// Serial number, big-endian without leading zeros.
    pub serial: Vec<u8>,
}

impl CertificateName {
    /// Names a certificate.
    #[must_use]
    pub fn new(issuer: AuthorityName, serial: &[u8]) -> Self {
        Self { issuer, serial: serial.to_vec() }
    }
}

/// What follows the first byte of a key.
trait KeyPart: Sized {
    fn append(&self, key: &mut Vec<u8>);
    fn parse(rest: &[u8]) -> Option<Self>;
    fn shown(&self) -> String;
}

impl KeyPart for String {
    fn append(&self, key: &mut Vec<u8>) {
        key.extend_from_slice(self.as_bytes());
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        Self::from_utf8(rest.to_vec()).ok()
    }

    fn shown(&self) -> String {
        self.escape_debug().to_string()
    }
}

impl KeyPart for AuthorityName {
    fn append(&self, key: &mut Vec<u8>) {
        // A trust domain has at most 255 characters.
        key.push(u8::try_from(self.member.len()).unwrap_or(u8::MAX));
        key.extend_from_slice(self.member.as_bytes());
        key.extend_from_slice(self.key.as_bytes());
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        Self::split(rest).filter(|(_, after)| after.is_empty()).map(|(name, _)| name)
    }

    fn shown(&self) -> String {
        format!("{} of {}", self.key, self.member.shown())
    }
}

impl KeyPart for CertificateName {
    fn append(&self, key: &mut Vec<u8>) {
        self.issuer.append(key);
        key.extend_from_slice(&self.serial);
    }

    fn parse(rest: &[u8]) -> Option<Self> {
        AuthorityName::split(rest).map(|(issuer, serial)| Self::new(issuer, serial))
    }

    fn shown(&self) -> String {
        format!("{} by CA {}", hex::encode(&self.serial), self.issuer.shown())
    }
}

/// A part of fixed length: how it becomes bytes, and how it is made of them.
macro_rules! fixed_part {
    ($($Part:ty, $Bytes:ty, $to:expr, $from:expr;)+) => {$(
        impl KeyPart for $Part {
            fn append(&self, key: &mut Vec<u8>) {
                let to: fn(&Self) -> $Bytes = $to;
                key.extend_from_slice(&to(self));
            }

            fn parse(rest: &[u8]) -> Option<Self> {
                <$Bytes>::try_from(rest).ok().map($from)
            }

            fn shown(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

fixed_part! {
    u32, [u8; 4], |n| n.to_be_bytes(), u32::from_be_bytes;
    u64, [u8; 8], |n| n.to_be_bytes(), u64::from_be_bytes;
    NodeId, [u8; 8], |id| id.0.to_be_bytes(), |bytes| NodeId(u64::from_be_bytes(bytes));
    Epoch, [u8; 8], |epoch| epoch.0.to_be_bytes(), |bytes| Epoch(u64::from_be_bytes(bytes));
    RecordId, [u8; 16], |id| id.0, RecordId;
    PatientPseudonym, [u8; 16], |id| id.0, PatientPseudonym;
    ConsentId, [u8; 16], |id| id.0, ConsentId;
    EmergencyId, [u8; 16], |id| id.0, EmergencyId;
    PetitionId, [u8; 16], |id| id.0, PetitionId;
    DisclosureId, [u8; 16], |id| id.0, DisclosureId;
    Fingerprint, [u8; HASH_LEN], |id| *id.as_bytes(), Fingerprint::from_bytes;
    KeyId, [u8; HASH_LEN], |id| *id.as_bytes(), KeyId::from_bytes;
    Hash, [u8; HASH_LEN], |hash| *hash.as_bytes(), Hash::from_bytes;
}

#[cfg(test)]
mod tests;
