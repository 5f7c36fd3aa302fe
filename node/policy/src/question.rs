//! From the facts of a request to the question that is put to Cedar. Everything that a policy
//! may know is put into the context here; what is not known for certain makes no question, and
//! is not permitted.

use cedar_policy::{
    Context, ContextCreationError, EntityUid, EvaluationError, ExpressionConstructionError, Request,
    RequestValidationError, RestrictedExpression as Value,
};
use consilium_proto::access::Facts;
use consilium_proto::consent::Said;
use consilium_proto::pb::{AccessGround as Ground, Confidentiality, PatientRelation};

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

/// What Cedar is asked.
pub(crate) struct Question<'f> {
    facts: &'f Facts<'f>,
    action: &'static EntityUid,
    purpose: &'static EntityUid,
    role: &'static EntityUid,
    ground: &'static EntityUid,
    confidentiality: i64,
}

impl<'f> Question<'f> {
    /// For a ground of the floor. `None` if a code of it is not known.
    pub(crate) fn of(facts: &'f Facts<'f>, ground: Ground) -> Option<Self> {
        let language: &'static Language = &LANGUAGE;
        let confidentiality = facts.record.confidentiality;
        Some(Self {
            facts,
            action: language.kind(facts.kind)?,
            purpose: language.purpose(facts.purpose)?,
            role: language.role(facts.reader.role())?,
            ground: language.ground(ground)?,
            confidentiality: (confidentiality != Confidentiality::Unspecified).then_some(confidentiality as i64)?,
        })
    }

    /// In Cedar's words.
    ///
    /// # Errors
    /// None but for want of stack.
    pub(crate) fn request(&self) -> Result<Request, Unasked> {
        let principal = LANGUAGE.identity(self.facts.reader);
        let resource = LANGUAGE.record(self.facts.record.id);
        // Without the schema, which would cost more than to decide: this module keeps to it, and
        // a test looks after that.
        Ok(Request::new(principal, self.action.clone(), resource, self.context()?, None)?)
    }

    fn context(&self) -> Result<Context, Unasked> {
        let facts = self.facts;
        let name = |uid: &EntityUid| Value::new_entity_uid(uid.clone());
        Ok(Context::from_pairs([
            ("reader".to_owned(), self.reader()?),
            ("purpose".to_owned(), name(self.purpose)),
            ("record".to_owned(), self.record()?),
            ("ground".to_owned(), name(self.ground)),
            ("consent".to_owned(), consent(facts.consent)?),
            ("emergency".to_owned(), Value::new_bool(facts.emergency)),
            ("relation".to_owned(), relation(facts)?),
        ])?)
    }

    fn reader(&self) -> Result<Value, Unasked> {
        let overdue = i64::try_from(self.facts.overdue_reviews).unwrap_or(i64::MAX);
        record([
            ("member", text(self.facts.reader.member().as_str())),
            ("role", Value::new_entity_uid(self.role.clone())),
            ("overdueReviews", Value::new_long(overdue)),
        ])
    }

    fn record(&self) -> Result<Value, Unasked> {
        record([
            ("kind", text(self.facts.record.kind)),
            ("confidentiality", Value::new_long(self.confidentiality)),
            ("custodian", text(self.facts.record.custodian)),
        ])
    }
}

fn consent(said: Said) -> Result<Value, Unasked> {
    let by_name = matches!(said, Said::Permits { by_name: true });
    let effect = Value::new_entity_uid(LANGUAGE.effect(said).clone());
    record([("effect", effect), ("namesReader", Value::new_bool(by_name))])
}

fn relation(facts: &Facts<'_>) -> Result<Value, Unasked> {
    let (patient, representative) = match facts.accepted_as {
        Some(PatientRelation::Self_) => (true, false),
        Some(PatientRelation::Guardian | PatientRelation::Proxy | PatientRelation::Executor) => (false, true),
        Some(PatientRelation::Unspecified) | None => (false, false),
    };
    record([
        ("author", Value::new_bool(facts.is_author())),
        ("authorMember", Value::new_bool(facts.is_custodian())),
        ("patient", Value::new_bool(patient)),
        ("representative", Value::new_bool(representative)),
        ("underCare", Value::new_bool(facts.under_care)),
    ])
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

fn record<const N: usize>(pairs: [(&str, Value); N]) -> Result<Value, Unasked> {
    Ok(Value::new_record(pairs.map(|(name, value)| (name.to_owned(), value)))?)
}

#[cfg(test)]
mod tests;
