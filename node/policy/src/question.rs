//! From the facts of a request to the question that is put to Cedar. Everything that a policy
//! may know is put into the context here; what is not known for certain makes no question, and
//! is not permitted.

use cedar_policy::{
    Context, ContextCreationError, EntityUid, EvaluationError, ExpressionConstructionError, Request,
    RequestValidationError, RestrictedExpression as Value,
};
use consilium_proto::access::Facts;
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::Role;
use consilium_proto::pb::{AccessGround as Ground, AccessKind, Confidentiality, PatientRelation, PurposeOfUse};

use crate::language::{LANGUAGE, Language};

/// Why a request could not be made. None of it follows from the facts: they all fit the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// For want of stack.
    Stack,
    /// For another reason of Cedar's.
    Refused,
}

impl From<ContextCreationError> for Unasked {
    fn from(error: ContextCreationError) -> Self {
        match error {
            ContextCreationError::Evaluation(EvaluationError::RecursionLimit(_)) => Self::Stack,
            _ => Self::Refused,
        }
    }
}

impl From<ExpressionConstructionError> for Unasked {
    fn from(_: ExpressionConstructionError) -> Self {
        Self::Refused
    }
}

impl From<RequestValidationError> for Unasked {
    fn from(_: RequestValidationError) -> Self {
        Self::Refused
    }
}

/// What Cedar is asked: everything that policies can tell requests apart by, and nothing else.
/// Equal questions have one answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question {
    /// `None`: which one it is makes no difference.
    reader: Option<String>,
    /// As for the reader.
    record: Option<RecordId>,
    kind: AccessKind,
    purpose: PurposeOfUse,
    role: Role,
    ground: Ground,
    consent: Said,
    confidentiality: i64,
    overdue_reviews: i64,
    member: String,
    record_kind: String,
    custodian: String,
    emergency: bool,
    is_author: bool,
    is_custodian: bool,
    accepted_as: Option<PatientRelation>,
    under_care: bool,
}

/// What policies name: a name can be compared with one in the text of a policy, and with nothing
/// else, so that it makes a difference only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) identities: bool,
    pub(crate) records: bool,
}

impl Question {
    /// For a ground of the floor. `None` if a code of it is not known.
    pub(crate) fn of(facts: &Facts<'_>, ground: Ground) -> Option<Self> {
        let Facts { reader, record, kind, purpose, .. } = *facts;
        let language: &'static Language = &LANGUAGE;
        language
            .kind(kind)
            .and(language.purpose(purpose))
            .and(language.role(reader.role()))
            .and(language.ground(ground))?;
        let confidentiality = record.confidentiality;
        Some(Self {
            reader: Some(reader.to_string()),
            record: Some(record.id),
            kind,
            purpose,
            role: reader.role(),
            ground,
            consent: facts.consent,
            confidentiality: (confidentiality != Confidentiality::Unspecified).then_some(confidentiality as i64)?,
            overdue_reviews: i64::try_from(facts.overdue_reviews).unwrap_or(i64::MAX),
            member: reader.member().as_str().to_owned(),
            record_kind: record.kind.to_owned(),
            custodian: record.custodian.to_owned(),
            emergency: facts.emergency,
            is_author: facts.is_author(),
            is_custodian: facts.is_custodian(),
            accepted_as: facts.accepted_as,
            under_care: facts.under_care,
        })
    }

    /// The same question to policies that name no more than this.
    pub(crate) fn asked_of_such_as_name(self, names: Names) -> Self {
        let reader = self.reader.filter(|_| names.identities);
        Self { reader, record: self.record.filter(|_| names.records), ..self }
    }

    /// In Cedar's words.
    ///
    /// # Errors
    /// None but for want of stack.
    pub(crate) fn request(&self) -> Result<Request, Unasked> {
        let principal = LANGUAGE.identity(self.reader.as_deref().unwrap_or_default());
        let resource = LANGUAGE.record(self.record);
        let action = LANGUAGE.kind(self.kind).ok_or(Unasked::Refused)?;
        // Without the schema, which would cost more than to decide: this module keeps to it, and
        // a test looks after that.
        Ok(Request::new(principal, action.clone(), resource, self.context()?, None)?)
    }

    fn context(&self) -> Result<Context, Unasked> {
        Ok(Context::from_pairs([
            ("reader".to_owned(), self.reader()?),
            ("purpose".to_owned(), known(LANGUAGE.purpose(self.purpose))?),
            ("record".to_owned(), self.record()?),
            ("ground".to_owned(), known(LANGUAGE.ground(self.ground))?),
            ("consent".to_owned(), self.consent()?),
            ("emergency".to_owned(), Value::new_bool(self.emergency)),
            ("relation".to_owned(), self.relation()?),
        ])?)
    }

    fn reader(&self) -> Result<Value, Unasked> {
        record([
            ("member", text(&self.member)),
            ("role", known(LANGUAGE.role(self.role))?),
            ("overdueReviews", Value::new_long(self.overdue_reviews)),
        ])
    }

    fn record(&self) -> Result<Value, Unasked> {
        record([
            ("kind", text(&self.record_kind)),
            ("confidentiality", Value::new_long(self.confidentiality)),
            ("custodian", text(&self.custodian)),
        ])
    }

    fn consent(&self) -> Result<Value, Unasked> {
        let by_name = matches!(self.consent, Said::Permits { by_name: true });
        let effect = known(Some(LANGUAGE.effect(self.consent)))?;
        record([("effect", effect), ("namesReader", Value::new_bool(by_name))])
    }

    fn relation(&self) -> Result<Value, Unasked> {
        let (patient, representative) = match self.accepted_as {
            Some(PatientRelation::Self_) => (true, false),
            Some(PatientRelation::Guardian | PatientRelation::Proxy | PatientRelation::Executor) => (false, true),
            Some(PatientRelation::Unspecified) | None => (false, false),
        };
        record([
            ("author", Value::new_bool(self.is_author)),
            ("authorMember", Value::new_bool(self.is_custodian)),
            ("patient", Value::new_bool(patient)),
            ("representative", Value::new_bool(representative)),
            ("underCare", Value::new_bool(self.under_care)),
        ])
    }
}

/// A name of the language. There is one: [`Question::of`] has looked.
fn known(name: Option<&EntityUid>) -> Result<Value, Unasked> {
    Ok(Value::new_entity_uid(name.ok_or(Unasked::Refused)?.clone()))
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn record<const N: usize>(pairs: [(&str, Value); N]) -> Result<Value, Unasked> {
    Ok(Value::new_record(pairs.map(|(name, value)| (name.to_owned(), value)))?)
}

#[cfg(test)]
mod tests;
