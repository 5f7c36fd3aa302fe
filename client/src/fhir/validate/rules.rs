//! Invariants of R4 that are written by hand, by the type that has them. Those that are not here
//! are listed in docs/fhir.md. Each is looked at where it belongs, so that data types have theirs
//! wherever they stand.

use serde_json::Value;

use super::Problem;
use super::moment::moment;
use super::walk::{Object, Walk};

pub(super) const DOM_2: &str = "a contained resource contains no resources";
pub(super) const DOM_3: &str = "a contained resource is referred to from the resource around it, or refers to it";
pub(super) const DOM_4: &str = "a contained resource has no versionId and no lastUpdated";
pub(super) const DOM_5: &str = "a contained resource has no security label";
pub(super) const ELE_1: &str = "an element has a value or an extension";
pub(super) const REF_1: &str = "a reference with # leads to a contained resource";

const UCUM: &str = "http://unitsofmeasure.org";
const CONDITION_CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
const CONDITION_VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
const ALLERGY_VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification";

/// A violated rule: the element to name, or none for the type as a whole.
type Violated = (Option<&'static str>, &'static str, &'static str);

/// Looks at the rules of one type.
pub(super) fn check<'v>(walk: &mut Walk<'v>, type_: &str, object: &'v Object) {
    if type_ == "Bundle" {
        return bundle(walk, object);
    }
    for (element, rule, meaning) in data_types(type_, object).into_iter().chain(resources(type_, object)).flatten() {
        let problem = Problem::Invariant { rule, meaning };
        match element {
            Some(element) => walk.find_at(element, problem),
            None => walk.find(problem),
        }
    }
}

/// The violation, unless the rule holds.
fn rule(holds: bool, element: &'static str, key: &'static str, meaning: &'static str) -> Option<Violated> {
    (!holds).then_some((Some(element), key, meaning))
}

/// A violation of the whole, unless the rule holds.
fn whole(holds: bool, key: &'static str, meaning: &'static str) -> Option<Violated> {
    (!holds).then_some((None, key, meaning))
}

/// Whether an element is there, perhaps with its extensions alone.
fn has(object: &Object, name: &str) -> bool {
    object.contains_key(name) || object.keys().any(|key| key.strip_prefix('_') == Some(name))
}

/// Whether a choice is made: `value` for `value[x]`.
fn chosen(object: &Object, name: &str) -> bool {
    let made = |key: &String| {
        let rest = key.strip_prefix('_').unwrap_or(key).strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
    };
    object.keys().any(made)
}

fn text<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

fn number(object: &Object, name: &str) -> Option<f64> {
    object.get(name).and_then(Value::as_f64)
}

/// Whether a CodeableConcept has one of the codes.
fn coded(object: &Object, element: &str, system: &str, codes: &[&str]) -> bool {
    let codings = object.get(element).and_then(|c| c.get("coding")).and_then(Value::as_array);
    codings.is_some_and(|list| {
        list.iter().any(|coding| {
            let part = |name| coding.get(name).and_then(Value::as_str);
            part("system") == Some(system) && part("code").is_some_and(|code| codes.contains(&code))
        })
    })
}

/// Whether two moments are in order, as far as both are known.
fn ordered(object: &Object, first: &str, second: &str) -> bool {
    let at = |name| text(object, name).and_then(moment);
    match (at(first), at(second)) {
        (Some(first), Some(second)) => !first.is_after(second),
        (None, _) | (_, None) => true,
    }
}

fn data_types(type_: &str, o: &Object) -> Vec<Option<Violated>> {
    match type_ {
        "Extension" => vec![whole(
            has(o, "extension") != chosen(o, "value"),
            "ext-1",
            "an extension has either a value or extensions, not both",
        )],
        "Period" => vec![rule(ordered(o, "start", "end"), "end", "per-1", "the start is not after the end")],
        "Quantity" | "SimpleQuantity" | "MoneyQuantity" | "Age" | "Count" | "Distance" | "Duration" => {
            quantity(type_, o)
        }
        "Ratio" => {
            let (above, below) = (o.contains_key("numerator"), o.contains_key("denominator"));
            let holds = above == below && (above || o.contains_key("extension"));
            vec![whole(holds, "rat-1", "numerator and denominator are both present, or both absent and explained")]
        }
        "Range" => {
            let value = |name: &str| o.get(name).and_then(Value::as_object).and_then(|q| number(q, "value"));
            let holds = value("low").is_none_or(|low| value("high").is_none_or(|high| low <= high));
            vec![rule(holds, "high", "rng-2", "low is not above high")]
        }
        "Attachment" => {
            vec![rule(!has(o, "data") || has(o, "contentType"), "contentType", "att-1", "data has a contentType")]
        }
        "ContactPoint" => vec![rule(!has(o, "value") || has(o, "system"), "system", "cpt-2", "a value has a system")],
        "Expression" => {
            let holds = has(o, "expression") || has(o, "reference");
            vec![whole(holds, "exp-1", "an expression or a reference is present")]
        }
        "Timing.repeat" => timing(o),
        _ => Vec::new(),
    }
}

fn quantity(type_: &str, o: &Object) -> Vec<Option<Violated>> {
    let mut out = vec![rule(!has(o, "code") || has(o, "system"), "system", "qty-3", "a code of the unit has a system")];
    let ucum = text(o, "system").is_none_or(|system| system == UCUM);
    let unit = !has(o, "value") || has(o, "code");
    match type_ {
        "Age" => {
            let positive = number(o, "value").is_none_or(|value| value > 0.0);
            out.push(whole(unit && ucum && positive, "age-1", "an age is positive, with a unit of time of UCUM"));
        }
        "Count" => {
            let whole_number = number(o, "value").is_none_or(|value| value.fract() == 0.0);
            let one = text(o, "code").is_none_or(|code| code == "1");
            out.push(whole(unit && ucum && one && whole_number, "cnt-3", "a count is a whole number of the unit 1"));
        }
        "Distance" => out.push(whole(unit && ucum, "dis-1", "a distance has a unit of length of UCUM")),
        "Duration" => {
            let holds = !has(o, "code") || (text(o, "system") == Some(UCUM) && has(o, "value"));
            out.push(whole(holds, "drt-1", "a duration with a unit has a value and a unit of UCUM"));
        }
        _ => {}
    }
    out
}

fn timing(o: &Object) -> Vec<Option<Violated>> {
    let with = |first: &str, second: &str| !has(o, first) || has(o, second);
    let not_negative = |name| number(o, name).is_none_or(|value| value >= 0.0);
    let when = o.get("when").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let meal = when.iter().filter_map(Value::as_str).any(|code| matches!(code, "C" | "CM" | "CD" | "CV"));
    let offset_fits = !has(o, "offset") || (!when.is_empty() && !meal);
    vec![
        rule(with("duration", "durationUnit"), "durationUnit", "tim-1", "a duration has a unit"),
        rule(with("period", "periodUnit"), "periodUnit", "tim-2", "a period has a unit"),
        rule(not_negative("duration"), "duration", "tim-4", "a duration is not negative"),
        rule(not_negative("period"), "period", "tim-5", "a period is not negative"),
        rule(with("periodMax", "period"), "periodMax", "tim-6", "periodMax stands beside a period"),
        rule(with("durationMax", "duration"), "durationMax", "tim-7", "durationMax stands beside a duration"),
        rule(with("countMax", "count"), "countMax", "tim-8", "countMax stands beside a count"),
        rule(offset_fits, "offset", "tim-9", "an offset stands beside a when that is not a meal alone"),
        rule(!(has(o, "timeOfDay") && has(o, "when")), "when", "tim-10", "timeOfDay and when exclude each other"),
    ]
}

fn resources(type_: &str, o: &Object) -> Vec<Option<Violated>> {
    let any = |names: &[&str]| names.iter().any(|name| has(o, name));
    match type_ {
        "AllergyIntolerance" => allergy(o),
        "Condition" => condition(o),
        "Observation" => observation(o),
        "Appointment" => appointment(o),
        "List" => list(o),
        "Observation.referenceRange" => {
            vec![whole(any(&["low", "high", "text"]), "obs-3", "a reference range has a low, a high or a text")]
        }
        "Condition.stage" => {
            vec![whole(any(&["summary", "assessment"]), "con-1", "a stage has a summary or assessment")]
        }
        "Condition.evidence" => vec![whole(any(&["code", "detail"]), "con-2", "evidence has a code or details")],
        "Patient.contact" => {
            let holds = any(&["name", "telecom", "address", "organization"]);
            vec![whole(holds, "pat-1", "a contact has a name, telecom, address or organization")]
        }
        "Consent" => {
            vec![rule(any(&["policy", "policyRule"]), "policy", "ppc-1", "either a policy or a policyRule is present")]
        }
        "MedicationAdministration.dosage" => {
            let holds = has(o, "dose") || chosen(o, "rate");
            vec![whole(holds, "mad-1", "a dosage has a dose or a rate")]
        }
        "MedicationDispense" => {
            let holds = ordered(o, "whenPrepared", "whenHandedOver");
            vec![rule(holds, "whenHandedOver", "mdd-1", "it is not handed over before it is prepared")]
        }
        "Immunization.education" => {
            vec![whole(any(&["documentType", "reference"]), "imm-1", "education has a documentType or a reference")]
        }
        "AuditEvent.entity" => {
            vec![rule(
                !(has(o, "name") && has(o, "query")),
                "query",
                "sev-1",
                "an entity has a name or a query, not both",
            )]
        }
        _ => of_administration(type_, o),
    }
}

/// Of organizations, plans and orders.
fn of_administration(type_: &str, o: &Object) -> Vec<Option<Violated>> {
    let any = |names: &[&str]| names.iter().any(|name| has(o, name));
    let not_home = |list: &str| {
        let items = o.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        !items.iter().any(|item| item.get("use").and_then(Value::as_str) == Some("home"))
    };
    match type_ {
        "Organization" => vec![
            whole(any(&["name", "identifier"]), "org-1", "an organization has a name or an identifier"),
            rule(not_home("address"), "address", "org-2", "an organization has no address of use home"),
            rule(not_home("telecom"), "telecom", "org-3", "an organization has no telecom of use home"),
        ],
        "Appointment.participant" => {
            vec![whole(any(&["type", "actor"]), "app-1", "a participant has a type or an actor")]
        }
        "CarePlan.activity" => {
            let holds = !(has(o, "detail") && has(o, "reference"));
            vec![rule(holds, "detail", "cpl-3", "an activity has a reference or a detail, not both")]
        }
        "FamilyMemberHistory" => vec![
            rule(!(chosen(o, "age") && chosen(o, "born")), "born[x]", "fhs-1", "age[x] and born[x] exclude each other"),
            rule(chosen(o, "age") || !has(o, "estimatedAge"), "estimatedAge", "fhs-2", "it stands beside an age[x]"),
        ],
        "Goal.target" => {
            let holds = !chosen(o, "detail") || has(o, "measure");
            vec![rule(holds, "measure", "gol-1", "a detail has a measure")]
        }
        "ServiceRequest" => {
            let holds = !has(o, "orderDetail") || has(o, "code");
            vec![rule(holds, "orderDetail", "prr-1", "orderDetail stands beside a code")]
        }
        "Parameters.parameter" => {
            let count = [chosen(o, "value"), has(o, "resource"), has(o, "part")].into_iter().filter(|x| *x).count();
            vec![whole(count == 1, "inv-1", "a parameter has one of value, resource and part")]
        }
        _ => Vec::new(),
    }
}

fn allergy(o: &Object) -> Vec<Option<Violated>> {
    let in_error = coded(o, "verificationStatus", ALLERGY_VERIFICATION, &["entered-in-error"]);
    let clinical = has(o, "clinicalStatus");
    vec![
        rule(in_error || clinical, "clinicalStatus", "ait-1", "present unless entered-in-error"),
        rule(!(in_error && clinical), "clinicalStatus", "ait-2", "not present if entered-in-error"),
    ]
}

fn condition(o: &Object) -> Vec<Option<Violated>> {
    let in_error = coded(o, "verificationStatus", CONDITION_VERIFICATION, &["entered-in-error"]);
    let over = coded(o, "clinicalStatus", CONDITION_CLINICAL, &["inactive", "resolved", "remission"]);
    vec![
        rule(
            over || !chosen(o, "abatement"),
            "clinicalStatus",
            "con-4",
            "inactive, resolved or remission if the condition is abated",
        ),
        rule(
            !(in_error && has(o, "clinicalStatus")),
            "clinicalStatus",
            "con-5",
            "not present if verificationStatus is entered-in-error",
        ),
    ]
}

fn observation(o: &Object) -> Vec<Option<Violated>> {
    let valued = chosen(o, "value");
    let codings = |value: &Value| -> Vec<Value> {
        value.get("code").and_then(|c| c.get("coding")).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let same = valued && {
        let own = o.get("code").and_then(|c| c.get("coding")).and_then(Value::as_array);
        let own = own.map_or(&[][..], Vec::as_slice);
        let components = o.get("component").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        components.iter().any(|component| codings(component).iter().any(|coding| own.contains(coding)))
    };
    vec![
        rule(
            !(valued && has(o, "dataAbsentReason")),
            "dataAbsentReason",
            "obs-6",
            "only present where value[x] is not",
        ),
        rule(!same, "component", "obs-7", "no component has the code of the observation if that has a value"),
    ]
}

fn appointment(o: &Object) -> Vec<Option<Violated>> {
    let (start, end) = (has(o, "start"), has(o, "end"));
    let status = text(o, "status").unwrap_or("");
    let open = matches!(status, "proposed" | "cancelled" | "waitlist");
    let off = matches!(status, "noshow" | "cancelled");
    vec![
        rule(start == end, "end", "app-2", "either start and end are given, or neither"),
        rule((start && end) || open, "start", "app-3", "only proposed or cancelled appointments have no start and end"),
        rule(off || !has(o, "cancelationReason"), "cancelationReason", "app-4", "only if cancelled or no-show"),
    ]
}

fn list(o: &Object) -> Vec<Option<Violated>> {
    let entries = o.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let any = |name| entries.iter().any(|entry| entry.get(name).is_some());
    let mode = text(o, "mode");
    vec![
        rule(entries.is_empty() || !has(o, "emptyReason"), "emptyReason", "lst-1", "only if the list is empty"),
        rule(mode == Some("changes") || !any("deleted"), "entry", "lst-2", "deleted is for lists of mode changes"),
        rule(mode == Some("working") || !any("date"), "entry", "lst-3", "a date is for lists of mode working"),
    ]
}

fn bundle<'v>(walk: &mut Walk<'v>, o: &'v Object) {
    let type_ = text(o, "type").unwrap_or("");
    let mut broken = |element, rule, meaning| walk.find_at(element, Problem::Invariant { rule, meaning });
    let search = type_ == "searchset";
    if has(o, "total") && !search && type_ != "history" {
        broken("total", "bdl-1", "total is for searches and histories");
    }
    let identifier = o.get("identifier").and_then(Value::as_object);
    let identified = identifier.is_some_and(|i| has(i, "system") && has(i, "value"));
    if type_ == "document" && !identified {
        broken("identifier", "bdl-9", "a document has an identifier with a system and a value");
    }
    if type_ == "document" && !has(o, "timestamp") {
        broken("timestamp", "bdl-10", "a document has a date");
    }
    let entries = o.get("entry").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let first = entries.first().and_then(|e| e.get("resource")?.get("resourceType")?.as_str());
    if type_ == "document" && first != Some("Composition") {
        broken("entry", "bdl-11", "a document has a Composition as its first resource");
    }
    if type_ == "message" && first != Some("MessageHeader") {
        broken("entry", "bdl-12", "a message has a MessageHeader as its first resource");
    }
    let request = matches!(type_, "batch" | "transaction" | "history");
    let response = matches!(type_, "batch-response" | "transaction-response" | "history");
    let mut urls = std::collections::HashSet::new();
    for (at, entry) in entries.iter().enumerate() {
        let Some(entry) = entry.as_object() else { continue };
        let mut broken = |holds: bool, rule, meaning| {
            if !holds {
                walk.find_in("entry", at, Problem::Invariant { rule, meaning });
            }
        };
        broken(search || !has(entry, "search"), "bdl-2", "search is for the results of searches");
        broken(
            has(entry, "request") == request,
            "bdl-3",
            "a request stands in batches, transactions and histories alone",
        );
        broken(has(entry, "response") == response, "bdl-4", "a response stands in responses and histories alone");
        let any = ["resource", "request", "response"].iter().any(|name| has(entry, name));
        broken(any, "bdl-5", "an entry has a resource, a request or a response");
        let Some(url) = text(entry, "fullUrl") else { continue };
        let version = entry.get("resource").and_then(|r| r.get("meta")?.get("versionId")?.as_str());
        broken(!url.contains("/_history/"), "bdl-8", "a fullUrl names no version");
        broken(urls.insert((url, version)) || type_ == "history", "bdl-7", "a fullUrl stands once for each version");
    }
}

/// Keys of the invariants that this program knows, for comparison with the definitions.
#[cfg(test)]
#[rustfmt::skip]
pub(super) const KEYS: [&str; 71] = [
    "age-1", "ait-1", "ait-2", "app-1", "app-2", "app-3", "app-4", "att-1", "bdl-1", "bdl-10", "bdl-11", "bdl-12",
    "bdl-2", "bdl-3", "bdl-4", "bdl-5", "bdl-7", "bdl-8", "bdl-9", "cnt-3", "con-1", "con-2", "con-4", "con-5",
    "cpl-3", "cpt-2", "dis-1", "dom-2", "dom-3", "dom-4", "dom-5", "drt-1", "ele-1", "exp-1", "ext-1", "fhs-1",
    "fhs-2", "gol-1", "imm-1", "inv-1", "lst-1", "lst-2", "lst-3", "mad-1", "mdd-1", "obs-3", "obs-6", "obs-7",
    "org-1", "org-2", "org-3", "pat-1", "per-1", "ppc-1", "prr-1", "qty-3", "rat-1", "ref-1", "rng-2", "sev-1",
    "tim-1", "tim-10", "tim-2", "tim-4", "tim-5", "tim-6", "tim-7", "tim-8", "tim-9", "txt-1", "txt-2",
];
