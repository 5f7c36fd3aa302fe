//! The SDK from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fhir_import;
