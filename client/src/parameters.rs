//! A ledger's parameters as people give them: `name=value`, and `quorum=2/3`
//! for the fractions. What parameters there are and whether a value is in its
//! range is for [`consilium_proto::parameters`].

use consilium_proto::parameters::{set, values};
use consilium_proto::pb;

use crate::error::ClientError;

/// Sets parameters given as `name=value`, fractions also as `quorum=2/3`.
///
/// # Errors
/// An unknown name, or a value that is no number of the field's size.
pub fn set_all<'a>(
    parameters: &mut pb::Parameters,
    settings: impl IntoIterator<Item = &'a String>,
) -> Result<(), ClientError> {
    for setting in settings {
        let (name, value) =
            setting.split_once('=').ok_or_else(|| ClientError::Usage(format!("{setting:?} is not NAME=VALUE")))?;
        match value.split_once('/') {
            Some((numerator, denominator)) => {
                set_number(parameters, &format!("{name}_numerator"), numerator)?;
                set_number(parameters, &format!("{name}_denominator"), denominator)?;
            }
            None => set_number(parameters, name, value)?,
        }
    }
    Ok(())
}

fn set_number(parameters: &mut pb::Parameters, name: &str, value: &str) -> Result<(), ClientError> {
    if values(parameters).iter().all(|(known, _)| *known != name) {
        return Err(ClientError::Usage(format!("unknown parameter {name:?}; see `consilium governance rules`")));
    }
    let number = value.parse().ok().and_then(|number| set(parameters, name, number).ok());
    number.ok_or_else(|| ClientError::Usage(format!("parameter {name}: {value:?} is not a number in range")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use consilium_proto::parameters::{differences, recommended_parameters};

    use super::*;

    #[test]
    fn fractions_stand_for_two_and_mistakes_are_named() {
        let mut parameters = recommended_parameters();
        set_all(&mut parameters, &["quorum=3/4".to_owned(), "epoch_ms=60000".to_owned()]).unwrap();
        let expected = [("epoch_ms", 3_600_000, 60_000), ("quorum_numerator", 2, 3), ("quorum_denominator", 3, 4)];
        assert_eq!(differences(&recommended_parameters(), &parameters), expected);
        for bad in ["quorum=3", "epoch_ms=a", "epoch_ms", "epoch=3", "max_validators=99999999999", "quorum=1/x"] {
            assert!(set_all(&mut parameters, &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
