//! What a Bundle says of itself: its type, and of each entry what is to be done with it.
//! Only words; which of them are followed is decided by whoever imports.

use serde_json::Value;

use super::{Home, Reference};

/// `Bundle.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BundleKind {
    /// One document, signed or attested as a whole.
    Document,
    /// One message.
    Message,
    /// All or nothing, by R4.
    Transaction,
    /// What came of a transaction.
    TransactionResponse,
    /// Each entry for itself, by R4.
    Batch,
    /// What came of a batch.
    BatchResponse,
    /// Versions of resources.
    History,
    /// A page of what a search found.
    Searchset,
    /// Resources that somebody put together.
    Collection,
    /// None that R4 knows, or none at all.
    Unknown,
}

impl BundleKind {
    pub(super) fn of(text: Option<&Value>) -> Self {
        match text.and_then(Value::as_str) {
            Some("document") => Self::Document,
            Some("message") => Self::Message,
            Some("transaction") => Self::Transaction,
            Some("transaction-response") => Self::TransactionResponse,
            Some("batch") => Self::Batch,
            Some("batch-response") => Self::BatchResponse,
            Some("history") => Self::History,
            Some("searchset") => Self::Searchset,
            Some("collection") => Self::Collection,
            Some(_) | None => Self::Unknown,
        }
    }

    /// As R4 writes it; what it is none of is called `Bundle`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Document => "document",
            Self::Message => "message",
            Self::Transaction => "transaction",
            Self::TransactionResponse => "transaction-response",
            Self::Batch => "batch",
            Self::BatchResponse => "batch-response",
            Self::History => "history",
            Self::Searchset => "searchset",
            Self::Collection => "collection",
            Self::Unknown => "Bundle",
        }
    }

    /// Whether its entries mean something only together. What is not known to be otherwise does.
    #[must_use]
    pub fn belongs_together(self) -> bool {
        match self {
            Self::Document | Self::Message | Self::Transaction | Self::Unknown => true,
            Self::TransactionResponse
            | Self::Batch
            | Self::BatchResponse
            | Self::History
            | Self::Searchset
            | Self::Collection => false,
        }
    }
}

/// Entries of Bundles that hold no record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// Of resources that are said to be deleted.
    pub deletions: Vec<Deletion>,
    /// Outcomes of searches.
    pub outcomes: usize,
    /// Without a resource for another reason: responses, reads, what was not included.
    pub without_resource: usize,
}

impl PassedOver {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deletions.is_empty() && self.outcomes == 0 && self.without_resource == 0
    }
}

/// An entry by which a resource is deleted.
#[derive(Clone, PartialEq, Eq)]
pub struct Deletion(Option<(&'static str, String)>);

impl Deletion {
    /// The deletion that an entry asks for (`request.method`), if it does.
    pub(super) fn of(request: Option<&Value>, full_url: Option<&str>, home: &Home) -> Option<Self> {
        let text = |key| request.and_then(|request| request.get(key)).and_then(Value::as_str);
        text("method").filter(|method| *method == "DELETE")?;
        let named = |text: &str| Reference::new(text).instance(home);
        Some(Self(text("url").and_then(named).or_else(|| full_url.and_then(named))))
    }

    /// Type and id of what is deleted; `None` for a search, which names nothing.
    #[must_use]
    pub fn resource(&self) -> Option<(&'static str, &str)> {
        self.0.as_ref().map(|(kind, id)| (*kind, id.as_str()))
    }
}

impl std::fmt::Debug for Deletion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deletion([redacted])")
    }
}

#[cfg(test)]
mod tests;
