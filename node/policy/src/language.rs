//! The words that policies and requests have in common: the schema, the tree of purposes, and
//! the names of roles, grounds and effects. Made once, from constants of this crate; nothing of
//! a request is ever kept here.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cedar_policy::{Authorizer, Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema, Validator};
use consilium_proto::consent::Said;
use consilium_proto::ids::RecordId;
use consilium_proto::names::{Role, SpiffeId};
use consilium_proto::pb::{AccessGround as Ground, AccessKind, PurposeOfUse};
use consilium_proto::purpose;

use crate::SCHEMA;

/// See the module.
pub(crate) static LANGUAGE: LazyLock<Language> = LazyLock::new(Language::new);

pub(crate) struct Language {
    pub(crate) authorizer: Authorizer,
    pub(crate) validator: Validator,
    /// The purposes, and the actions of the schema; nothing of a request.
    pub(crate) entities: Entities,
    identity: EntityTypeName,
    record: EntityTypeName,
    purpose: EntityTypeName,
    purposes: BTreeMap<PurposeOfUse, EntityUid>,
    kinds: [EntityUid; 4],
    roles: [EntityUid; 5],
    grounds: [EntityUid; 6],
    effects: [EntityUid; 4],
}

impl Language {
    fn new() -> Self {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).expect("the schema is a constant, and tested");
        let purpose = type_name("Purpose");
        let purposes = purpose::all().map(|p| (p, uid(&purpose, purpose::code(p)))).collect();
        let entities = Entities::from_entities(tree(&purposes), Some(&schema));
        let names = |kind: &str| {
            let kind = type_name(kind);
            move |name: &str| uid(&kind, name)
        };
        let grounds = ["author", "custodian", "patient", "representative", "consent", "emergency"];
        Self {
            authorizer: Authorizer::new(),
            validator: Validator::new(schema),
            entities: entities.expect("the purposes are constants, and tested"),
            identity: type_name("Identity"),
            record: type_name("Record"),
            purpose,
            purposes,
            kinds: ["read", "query", "history", "export"].map(names("Action")),
            roles: ["service", "clinician", "researcher", "patient", "device"].map(names("Role")),
            grounds: grounds.map(names("Ground")),
            effects: ["none", "permit", "denyByBase", "denyByRule"].map(names("Effect")),
        }
    }

    pub(crate) fn identity(&self, reader: &str) -> EntityUid {
        uid(&self.identity, reader)
    }

    /// `None`: any that has no name.
    pub(crate) fn record(&self, record: Option<RecordId>) -> EntityUid {
        uid(&self.record, &record.map(|record| record.to_string()).unwrap_or_default())
    }

    pub(crate) fn is_identity(&self, name: &EntityUid) -> bool {
        *name.type_name() == self.identity
    }

    pub(crate) fn is_record(&self, name: &EntityUid) -> bool {
        *name.type_name() == self.record
    }

    pub(crate) fn purpose(&self, purpose: PurposeOfUse) -> Option<&EntityUid> {
        self.purposes.get(&purpose)
    }

    /// The action that asks for it.
    pub(crate) fn kind(&self, kind: AccessKind) -> Option<&EntityUid> {
        let [read, query, history, export] = &self.kinds;
        match kind {
            AccessKind::Read => Some(read),
            AccessKind::Query => Some(query),
            AccessKind::History => Some(history),
            AccessKind::Export => Some(export),
            AccessKind::Disclosure | AccessKind::Change | AccessKind::Unspecified => None,
        }
    }

    /// Of those that read records.
    pub(crate) fn role(&self, role: Role) -> Option<&EntityUid> {
        let [service, clinician, researcher, patient, device] = &self.roles;
        match role {
            Role::Service => Some(service),
            Role::Clinician => Some(clinician),
            Role::Researcher => Some(researcher),
            Role::Patient => Some(patient),
            Role::Device => Some(device),
            Role::Node | Role::Admin | Role::Auditor => None,
        }
    }

    /// Of those on which one version is read.
    pub(crate) fn ground(&self, ground: Ground) -> Option<&EntityUid> {
        let [author, custodian, patient, representative, consent, emergency] = &self.grounds;
        match ground {
            Ground::Author => Some(author),
            Ground::Custodian => Some(custodian),
            Ground::Patient => Some(patient),
            Ground::Representative => Some(representative),
            Ground::Consent => Some(consent),
            Ground::Emergency => Some(emergency),
            Ground::Unspecified
            | Ground::Each
            | Ground::NotFound
            | Ground::Role
            | Ground::ConsentDenies
            | Ground::NoConsent
            | Ground::NoEmergency
            | Ground::Policy
            | Ground::PolicyError
            | Ground::Restricted => None,
        }
    }

    pub(crate) fn effect(&self, said: Said) -> &EntityUid {
        let [none, permit, by_base, by_rule] = &self.effects;
        match said {
            Said::Nothing | Said::Silent => none,
            Said::BasePermits | Said::Permits { .. } => permit,
            Said::BaseDenies | Said::OptedOut | Said::AllDenied => by_base,
            Said::RuleDenies => by_rule,
        }
    }

    /// Whether there can be what a policy names. What is a closed list in the schema, and what
    /// it does not know, the validator looks at.
    pub(crate) fn can_be(&self, name: &EntityUid) -> bool {
        let id = name.id().unescaped();
        match name.type_name() {
            kind if *kind == self.purpose => purpose::of_code(id).is_some(),
            kind if *kind == self.identity => id.parse::<SpiffeId>().is_ok(),
            // One spelling only, as for identities.
            kind if *kind == self.record => id.parse::<RecordId>().is_ok_and(|record| record.to_string() == id),
            _ => true,
        }
    }
}

/// The purposes, each below its parent, but those of emergencies below none.
fn tree(purposes: &BTreeMap<PurposeOfUse, EntityUid>) -> Vec<Entity> {
    let above = |purpose: PurposeOfUse| purpose::parent(purpose).filter(|_| !purpose::is_emergency(purpose));
    let entity = |(purpose, name): (&PurposeOfUse, &EntityUid)| {
        let above = above(*purpose).and_then(|above| purposes.get(&above));
        Entity::new_no_attrs(name.clone(), above.cloned().into_iter().collect())
    };
    purposes.iter().map(entity).collect()
}

fn type_name(name: &str) -> EntityTypeName {
    name.parse().expect("names of types are constants, and tested")
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

#[cfg(test)]
mod tests;
