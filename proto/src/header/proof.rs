//! A header that is final because a certified one follows it: what a node shows with an
//! answer that was read at its newest block, which has no certificate of its own yet.

use super::Header;
use crate::error::{FieldError, length_in};
use crate::pb;
use crate::vote::{BlockCertificate, CertifiedHeader};

/// Most headers between a header and the certified one: more are never executed uncertified.
pub const FOLLOWING_MAX: usize = 4_096;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderProof {
    header: Header,
    following: Vec<Header>,
    certificate: BlockCertificate,
}

/// A header does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the header at height {0} does not follow the one before")]
pub struct BrokenChain(pub crate::ids::Height);

impl HeaderProof {
    /// Joins what proves a header. Nothing is checked here.
    #[must_use]
    pub fn new(header: Header, following: Vec<Header>, certificate: BlockCertificate) -> Self {
        Self { header, following, certificate }
    }

    /// The header as it is claimed; final only if [`Self::certified`] is.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// As [`Self::header`].
    #[must_use]
    pub fn into_header(self) -> Header {
        self.header
    }

    /// The header to be judged by its certificate, which makes those before it final.
    ///
    /// # Errors
    /// If the headers are no chain.
    pub fn certified(&self) -> Result<CertifiedHeader, BrokenChain> {
        let mut tip = &self.header;
        for next in &self.following {
            if !next.follows(tip) {
                return Err(BrokenChain(next.height));
            }
            tip = next;
        }
        Ok(CertifiedHeader { header: tip.clone(), certificate: self.certificate.clone() })
    }
}

impl TryFrom<&pb::HeaderProof> for HeaderProof {
    type Error = FieldError;

    fn try_from(m: &pb::HeaderProof) -> Result<Self, FieldError> {
        length_in("following", m.following.len(), 0, FOLLOWING_MAX)?;
        let header = m.header.as_ref().ok_or_else(|| FieldError::missing("header"))?;
        let certificate = m.certificate.as_ref().ok_or_else(|| FieldError::missing("certificate"))?;
        let following = m.following.iter().map(Header::try_from).collect::<Result<_, _>>();
        Ok(Self {
            header: Header::try_from(header).map_err(|e| e.within("header"))?,
            following: following.map_err(|e| e.within("following"))?,
            certificate: BlockCertificate::try_from(certificate).map_err(|e| e.within("certificate"))?,
        })
    }
}

impl From<&HeaderProof> for pb::HeaderProof {
    fn from(proof: &HeaderProof) -> Self {
        Self {
            header: Some((&proof.header).into()),
            following: proof.following.iter().map(Into::into).collect(),
            certificate: Some((&proof.certificate).into()),
        }
    }
}
