//! What the validator says of a place in a document.

use super::primitive::Primitive;

/// Something that R4 does not allow. Names the place, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {path}: {problem}")]
pub struct Finding {
    /// Line of the file on which the resource starts, from 1.
    pub line: usize,
    /// Path such as `Observation.component[2].valueQuantity.comparator`; in a Bundle it starts with
    /// `Bundle.entry[7].resource`.
    pub path: String,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// R4 has no such element there.
    #[error("is not an element of FHIR R4 here{}", near.map(|n| format!("; {n} is")).unwrap_or_default())]
    Unknown {
        /// An element of a like name.
        near: Option<&'static str>,
    },
    /// A required element is missing.
    #[error("is required")]
    Missing,
    /// The element may not stand here at all.
    #[error("must not be given here")]
    NotAllowed,
    /// A list where one is allowed.
    #[error("must not be a list: it stands at most once")]
    Single,
    /// One where a list is due.
    #[error("must be a list")]
    List,
    /// An object, array or string without content.
    #[error("is empty")]
    Empty,
    /// null where no extension explains it.
    #[error("is null, and no extension in its place says why")]
    Null,
    /// Another JSON type.
    #[error("must be {expected}")]
    Type {
        /// What R4 has there.
        expected: &'static str,
    },
    /// Two types of a choice.
    #[error("gives a second type for {choice}, which has one")]
    SeveralChoices {
        /// Such as `value[x]`.
        choice: &'static str,
    },
    /// A value outside the form of its type.
    #[error("is not a {} of FHIR: {}", kind.name(), kind.form())]
    Primitive {
        /// The type.
        kind: Primitive,
    },
    /// The list of extensions beside a list of values has another length.
    #[error("must have as many items as the list it belongs to")]
    Siblings,
    /// A code outside a required value set.
    #[error("is none of the codes of {set} (FHIR 4.0.1)")]
    Code {
        /// The value set's name.
        set: &'static str,
    },
    /// No code where the value set requires one.
    #[error("has no code of {set} (FHIR 4.0.1), which is required beside a text")]
    NoCode {
        /// The value set's name.
        set: &'static str,
    },
    /// Not `Type/id`, a URL, a URN or `#id`.
    #[error("is not a reference of FHIR: Type/id, an absolute URL, a URN or #id")]
    Reference,
    /// The reference leads to another type than the element allows.
    #[error("must refer to {allowed}")]
    Target {
        /// Types with "or".
        allowed: String,
    },
    /// The resource type of a `type` and of its `reference` differ.
    #[error("names another type than the reference beside it")]
    TargetType,
    /// Not a resource type of R4.
    #[error("is not a resource type of FHIR R4")]
    UnknownType,
    /// A modifier extension that nobody declared to understand.
    #[error(
        "is a modifier extension, which may turn the meaning around; declare its URL in \
         fhir_modifier_extensions if whoever reads the records understands it"
    )]
    Modifier,
    /// Two contained resources of one id.
    #[error("is the id of another contained resource, too")]
    ContainedTwice,
    /// A rule that R4 names.
    #[error("violates {rule}: {meaning}")]
    Invariant {
        /// Its key in R4.
        rule: &'static str,
        /// What it says.
        meaning: &'static str,
    },
}
