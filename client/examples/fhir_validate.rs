//! Judges FHIR R4 resources, one a line of standard input, and prints a JSON array of findings for
//! each. For comparison with other validators (`tests/interop/fhir`); nothing is signed or sent.

use std::io::{BufRead as _, Write as _};

use consilium_client::fhir::validate::Validator;

fn main() -> std::io::Result<()> {
    let (validator, mut out) = (Validator::default(), std::io::stdout().lock());
    for (number, line) in std::io::stdin().lock().lines().enumerate() {
        let report = validator.examine(line?.as_bytes(), number + 1);
        let findings: Vec<_> = report
            .findings
            .iter()
            .map(|f| serde_json::json!({ "path": f.path, "problem": f.problem.to_string() }))
            .collect();
        writeln!(out, "{}", serde_json::Value::from(findings))?;
    }
    Ok(())
}
