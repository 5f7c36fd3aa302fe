//! Which resource types FHIR R4 (4.0.1) has. Only tables; nothing here reads a document.

pub(crate) use consilium_proto::resource_types::resource_type;

/// Whether `name` is a resource type of R4.
#[must_use]
pub fn is_resource_type(name: &str) -> bool {
    resource_type(name).is_some()
}

#[cfg(test)]
mod tests;
