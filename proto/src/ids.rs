//! Identifiers, heights and times as types of their own, so that none can be
//! taken for another.

use crate::hash_newtype;

hash_newtype! {
    /// The genesis hash: names a ledger for ever.
    pub struct LedgerId;
}
hash_newtype! {
    /// Identifies a transaction by its body, independent of its signature.
    pub struct TransactionId;
}
hash_newtype! {
    /// Hash of a block header.
    pub struct HeaderHash;
}
hash_newtype! {
    /// Fingerprint of a signing key or of an identity certificate.
    pub struct Fingerprint;
}
hash_newtype! {
    /// Identifies an encryption key: SHA-256 of its encoded public part.
    pub struct KeyId;
}

hash_newtype! {
    /// Names a certification authority by its key: SHA-256 of the DER
    /// `SubjectPublicKeyInfo`. No certificate can choose it.
    pub struct AuthorityId;
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Height of a block; 0 is the genesis header.
    Height
}
number! {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    TimeMs
}
number! {
    /// Election period.
    Epoch
}
number! {
    /// Raft id of a node, given by the ledger and never reused; 0 means none.
    NodeId
}
number! {
    /// Voting power of a validator in block certificates.
    VotingPower
}

impl Height {
    /// The genesis header.
    pub const GENESIS: Self = Self(0);

    /// The height above. There is none above 2^64 - 1, which no block reaches: that one is its
    /// own, because anybody may name it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Epoch {
    /// The period after; see [`Height::next`].
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

macro_rules! short_id {
    ($(#[$doc:meta])* $name:ident) => {
        short_id! { $(#[$doc])* $name, 16 }
    };
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $length]);

        impl $name {
            /// Parses a field of this length.
            ///
            /// # Errors
            /// A length error that names `field`.
            pub fn parse(field: &str, bytes: &[u8]) -> Result<Self, crate::error::FieldError> {
                crate::error::fixed(field, bytes).map(Self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::error::FieldError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let bytes = hex::decode(text)
                    .map_err(|_| crate::error::FieldError::malformed(stringify!($name), "is not hexadecimal"))?;
                Self::parse(stringify!($name), &bytes)
            }
        }
    };
}

short_id! {
    /// Identifies a record; random.
    RecordId
}
short_id! {
    /// Pseudonym of a patient; random.
    PatientPseudonym
}
short_id! {
    /// Blinded search tag.
    SearchTag
}
short_id! {
    /// Identifies a consent; random.
    ConsentId
}
short_id! {
    /// Identifies an emergency; random.
    EmergencyId
}
short_id! {
    /// Identifies a petition of a patient; random.
    PetitionId
}
short_id! {
    /// Identifies a disclosure under a legal duty; random.
    DisclosureId
}
short_id! {
    /// By what a salt of a patient's labels is known.
    SaltId
}
short_id! {
    /// What consents may name of a record without saying it: the id of a salt, and what is
    /// blinded under it.
    PolicyTag, 32
}

impl PolicyTag {
    /// What is blinded under a salt.
    #[must_use]
    pub fn new(salt: SaltId, blinded: [u8; 16]) -> Self {
        let mut tag = [0; 32];
        tag[..16].copy_from_slice(&salt.0);
        tag[16..].copy_from_slice(&blinded);
        Self(tag)
    }

    /// The salt under which it is blinded.
    #[must_use]
    pub fn salt(&self) -> SaltId {
        let (salt, _) = self.0.split_first_chunk().expect("32 bytes have 16");
        SaltId(*salt)
    }
}

short_id! {
    /// Names a project of research.
    ProjectTag
}
