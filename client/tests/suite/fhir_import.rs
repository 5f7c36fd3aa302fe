//! Real FHIR files through the import's pure steps: found, split byte for
//! byte, blinded, encrypted, packed, and opened again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use consilium_client::fhir::validate::{Validation, Validator};
use consilium_client::fhir::{BundleKind, FILE_BYTES_MAX, Home, Resource};
use consilium_client::records::import::{BundlePolicy, Event, NOT_FHIR, Rules, SourceFile, find, read_documents};
use consilium_client::records::{
    PackLimits, Recipient, RecordDraft, TAGS_MAX, new_pseudonym, new_record_id, pack, seal, size_of,
};
use consilium_proto::envelope::{EnvelopeContext, KeyWrap, SearchKey, open_payload, unwrap_key};
use consilium_proto::ids::LedgerId;
use consilium_proto::keys::{EncryptionPrivateKey, KemId};
use consilium_proto::limits::{ACTIONS_MAX, BODY_BYTES_MAX, TRANSACTION_BYTES_MAX};
use consilium_proto::parameters::{Parameters, recommended_parameters};
use consilium_proto::pb;
use consilium_proto::transaction::encode_actions;
use prost::Message;

fn home() -> Home {
    Home::new("st-mary.example", [])
}

/// The folder of FHIR data, unless it is absent.
fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("CONSILIUM_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let data = shared.join("data/fhir");
    if data.is_dir() {
        return Some(data);
    }
    eprintln!("SKIPPED: vectors absent at {}", data.display());
    None
}

struct Read {
    file: SourceFile,
    documents: Vec<(bool, Vec<Resource>)>,
    events: Vec<Event>,
}

fn read_all(folder: &PathBuf) -> Vec<Read> {
    read_by(folder, BundlePolicy::default(), &Validator::default())
}

fn read_by(folder: &PathBuf, policy: BundlePolicy, validator: &Validator) -> Vec<Read> {
    let files = find(std::slice::from_ref(folder)).unwrap().files;
    let read = |file: SourceFile| {
        let (mut documents, mut events) = (Vec::new(), Vec::new());
        let rules = Rules { home: &home(), policy, validator };
        read_documents(&file, rules, &mut |e| events.push(e), &mut |d| {
            documents.push((d.is_bundle, d.resources));
            true
        });
        events.retain(|e| !matches!(e, Event::Read { .. }));
        Read { file, documents, events }
    };
    files.into_iter().map(read).collect()
}

#[test]
fn every_resource_is_found_once_and_is_a_part_of_its_file() {
    let Some(data) = data() else { return };
    let mut counts: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for read in read_all(&data) {
        let folder = read.file.path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        if folder == "primitives" {
            assert_eq!(read.events, [Event::Skipped { path: read.file.path.clone(), reason: NOT_FHIR }]);
            assert!(read.documents.is_empty());
            continue;
        }
        assert_eq!(read.events, [], "{}", read.file.path.display());
        let text = std::fs::read(&read.file.path).unwrap();
        let mut from = 0;
        for resource in read.documents.iter().flat_map(|(_, resources)| resources) {
            // In order and without overlap, so each one is its own part.
            let at = text[from..].windows(resource.raw.len()).position(|w| w == resource.raw).unwrap();
            from += at + resource.raw.len();
            serde_json::from_slice::<serde_json::Value>(&resource.raw).unwrap();
            *counts.entry((folder.clone(), resource.kind)).or_default() += 1;
        }
        if folder == "hl7-examples" {
            assert_eq!(read.documents[0].1[0].raw, text, "a single resource is its whole file");
        }
        assert_eq!(read.documents.iter().any(|(is_bundle, _)| *is_bundle), folder == "bundles");
    }
    let total = |folder: &str| counts.iter().filter(|((f, _), _)| f == folder).map(|(_, n)| n).sum::<usize>();
    // The table in the data's README.
    assert_eq!([total("bundles"), total("bulk-ndjson"), total("hl7-examples")], [2046, 458, 42]);
    assert_eq!(counts[&("bundles".to_owned(), "Observation")], 1004);
    assert_eq!(counts[&("bulk-ndjson".to_owned(), "DocumentReference")], 78);
    assert_eq!(counts[&("hl7-examples".to_owned(), "Consent")], 6);
}

#[test]
fn all_records_of_a_patient_share_a_subject() {
    let Some(data) = data() else { return };
    for read in read_all(&data.join("bundles")) {
        let resources: Vec<_> = read.documents.into_iter().flat_map(|(_, r)| r).collect();
        let patient = resources.iter().find(|r| r.kind == "Patient").unwrap();
        let expected = format!("urn:uuid:{}", patient.id.as_ref().unwrap());
        assert_eq!(patient.subject.canonical(), expected);
        let others = ["Organization", "Practitioner"];
        for r in &resources {
            let same = r.subject.patient().map(|name| name.canonical()) == Some(expected.as_str());
            assert_eq!(same, !others.contains(&r.kind), "{} on line {}", r.kind, r.line);
        }
    }
    let bulk: BTreeSet<String> = read_all(&data.join("bulk-ndjson"))
        .into_iter()
        .flat_map(|r| r.documents)
        .flat_map(|(_, resources)| resources)
        .filter(|r| consilium_client::fhir::needs_patient(r.kind) || r.kind == "Patient")
        .map(|r| r.subject.canonical().to_owned())
        .collect();
    assert_eq!(bulk.len(), 4, "four patients");
}

#[test]
fn every_resource_comes_back_byte_for_byte_within_the_limits() {
    let Some(data) = data() else { return };
    let key = SearchKey::from_bytes(&[4; 32]);
    let private = EncryptionPrivateKey::generate(KemId::X25519HkdfSha256).unwrap();
    let recipients =
        [Recipient { name: "me".into(), member: "st-mary.example".parse().unwrap(), key: private.public_key() }];
    let ledger = LedgerId::from_bytes([3; 32]);
    let limits = PackLimits::of(&Parameters::try_from(&recommended_parameters()).unwrap());
    let mut divided = 0;
    for read in read_all(&data) {
        for (_, resources) in read.documents {
            let drafts: Vec<_> =
                resources.iter().map(|r| RecordDraft::from_resource(r, new_pseudonym(), &key)).collect();
            let sizes: Vec<_> = drafts.iter().map(|d| size_of(d, &recipients)).collect();
            let ranges = pack(&sizes, &limits);
            divided += usize::from(ranges.len() > 1);
            for range in ranges {
                let sealed: Vec<_> = drafts[range.clone()]
                    .iter()
                    .map(|d| seal(d, ledger, new_record_id(), 1, &recipients, &Default::default()).unwrap())
                    .collect();
                let actions = sealed.iter().map(|s| s.action.clone()).collect::<Vec<_>>();
                assert!(actions.len() <= ACTIONS_MAX);
                let body = pb::TransactionBody {
                    ledger_id: ledger.to_bytes(),
                    nonce: vec![1; 16].into(),
                    valid_until_ms: u64::MAX,
                    actions: encode_actions(&actions),
                    author: vec![2; 32].into(),
                };
                let attachments: usize = sealed.iter().flat_map(|s| &s.attachments).map(|a| a.len()).sum();
                assert!(body.encoded_len() <= BODY_BYTES_MAX);
                assert!(body.encoded_len() + attachments <= TRANSACTION_BYTES_MAX);
                for (sealed, resource) in sealed.iter().zip(&resources[range]) {
                    let context = EnvelopeContext { ledger_id: [3; 32], record_id: sealed.record_id.0, version: 1 };
                    let content_key =
                        unwrap_key(&KeyWrap::decode(sealed.attachments.last().unwrap()).unwrap(), &private, &context)
                            .unwrap();
                    let plaintext = open_payload(&content_key, &context, &sealed.attachments[0]).unwrap();
                    assert_eq!(*plaintext, resource.raw);
                }
            }
            for draft in &drafts {
                assert!(draft.tags.len() <= TAGS_MAX && draft.tags.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
    eprintln!("{divided} Bundles needed more than one transaction");
}

#[test]
fn folders_are_walked_without_links_and_hidden_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let patient = "{\"resourceType\":\"Patient\",\"id\":\"p\"}";
    std::fs::create_dir(at("sub")).unwrap();
    for name in ["b.json", "a.ndjson", "sub/C.JSON", ".hidden.json", "notes.txt"] {
        std::fs::write(at(name), patient).unwrap();
    }
    std::os::unix::fs::symlink(at("b.json"), at("link.json")).unwrap();
    std::os::unix::fs::symlink("/", at("root")).unwrap();
    let found = find(&[folder.path().to_owned()]).unwrap();
    let others: Vec<_> =
        found.others.iter().map(|p| p.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!((others, found.hidden, found.links), (vec!["notes.txt"], 1, 2));
    let names: Vec<_> =
        found.files.iter().map(|f| f.path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.ndjson", "b.json", "sub/C.JSON"]);
    assert_eq!(find(&[at("notes.txt")]).unwrap_err().1, "is no .json, .ndjson, .json.gz or .ndjson.gz file");
    assert!(find(&[at("absent.json")]).is_err());
    assert_eq!(find(&[at("link.json")]).unwrap().files.len(), 1, "a link that the caller names is followed");
}

#[test]
fn damaged_lines_are_refused_and_the_others_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ndjson");
    let text = "{\"resourceType\":\"Patient\",\"id\":\"a\"}\r\n\n{\"resourceType\":\"Patient\",\"id\":\"b\n42\n{\"resourceType\":\"Patient\",\"id\":\"c\"}";
    std::fs::write(&path, text).unwrap();
    let read = read_all(&folder.path().to_owned()).pop().unwrap();
    let ids: Vec<_> = read.documents.iter().flat_map(|(_, r)| r).map(|r| r.id.clone().unwrap()).collect();
    assert_eq!(ids, ["a", "c"]);
    let refused: Vec<String> = read
        .events
        .iter()
        .map(|e| match e {
            Event::Refused { error, .. } => error.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    // Which column a parser blames for an unterminated text is its own affair.
    assert!(refused[0].starts_with("line 3: is not well-formed JSON (column "), "{refused:?}");
    assert_eq!(refused[1..], ["line 4: must be a FHIR resource"]);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_files_hold_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["a", "b"].map(|id| format!("{{\"resourceType\":\"Patient\", \"id\":\"{id}\" }}"));
    std::fs::write(folder.path().join("a.json.gz"), gzip(one.as_bytes())).unwrap();
    // Two members, as tools that compress in blocks write them.
    let blocks = [gzip(format!("{one}\n").as_bytes()), gzip(two.as_bytes())].concat();
    std::fs::write(folder.path().join("B.NDJSON.GZ"), blocks).unwrap();
    std::fs::write(folder.path().join("c.gz"), gzip(b"x")).unwrap();
    let read = read_all(&folder.path().to_owned());
    let raws = |read: &Read| -> Vec<_> { read.documents.iter().flat_map(|(_, r)| r).map(|r| r.raw.clone()).collect() };
    assert_eq!(raws(&read[0]), [one.as_bytes(), two.as_bytes()]);
    assert_eq!(raws(&read[1]), [one.as_bytes()]);
    assert_eq!(read.len(), 2);
}

#[test]
fn what_is_too_large_once_it_is_not_compressed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let spaces = vec![b' '; 1024 * 1024];
    let bomb = gzip(&spaces).repeat(1 + usize::try_from(FILE_BYTES_MAX).unwrap() / spaces.len());
    assert!((bomb.len() as u64) < FILE_BYTES_MAX / 50);
    let cut_off = &gzip(b"{\"resourceType\":\"Patient\"}")[..20];
    for (name, content) in
        [("a.json.gz", &bomb[..]), ("b.ndjson.gz", &bomb[..]), ("c.json.gz", cut_off), ("d.json.gz", &b"{}"[..])]
    {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    for (at, read) in read_all(&folder.path().to_owned()).iter().enumerate() {
        let [Event::Unreadable { cause, .. }] = &read.events[..] else { panic!("{:?}", read.events) };
        assert_eq!(cause == "larger than a document may be", at < 2, "{cause}");
        assert!(read.documents.is_empty());
    }
}

/// A Bundle of 54 patients and an observation of nobody.
fn of_55(kind: &str) -> String {
    let patient = |n| format!("{{\"resource\":{{\"resourceType\":\"Patient\",\"id\":\"p{n}\"}}}}");
    let mut entries: Vec<String> = (0..54).map(patient).collect();
    let nobody = "{\"resourceType\":\"Observation\",\"status\":\"final\",\"code\":{\"text\":\"x\"}}";
    entries.insert(17, format!("{{\"resource\":{nobody}}}"));
    entries.push("{\"request\":{\"method\":\"DELETE\",\"url\":\"Observation/9\"}}".into());
    format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":[{}]}}", entries.join(","))
}

#[test]
fn a_bundle_is_taken_whole_or_in_part_as_the_policy_says() {
    let folder = tempfile::tempdir().unwrap();
    let whole = |policy: BundlePolicy, kind: &str| {
        std::fs::write(folder.path().join("b.json"), of_55(kind)).unwrap();
        // Such a Bundle is not valid in other respects.
        let validator = Validator::new(Validation::Off);
        let read = read_by(&folder.path().to_owned(), policy, &validator).pop().unwrap();
        let [Event::PassedOver { entries, .. }, Event::EntryRefused { error, .. }, last] = &read.events[..] else {
            panic!("{:?}", read.events)
        };
        assert_eq!(entries.deletions[0].resource(), Some(("Observation", "9")));
        assert!(error.to_string().starts_with("line 1, Bundle.entry[17].Observation: names no patient"), "{error}");
        let taken: usize = read.documents.iter().map(|(_, resources)| resources.len()).sum();
        match last {
            Event::BundleRefused { refused: 1, others: 54, .. } => assert_eq!(taken, 0),
            Event::BundleInPart { refused: 1, taken: 54, .. } => assert_eq!(taken, 54),
            other => panic!("{other:?}"),
        }
        taken == 0
    };
    for kind in ["transaction", "document", "message", "nonsense"] {
        assert!(whole(BundlePolicy::ByType, kind), "{kind}");
    }
    for kind in ["batch", "collection", "searchset", "history", "batch-response", "transaction-response"] {
        assert!(!whole(BundlePolicy::ByType, kind), "{kind}");
    }
    assert!(whole(BundlePolicy::Whole, "searchset") && !whole(BundlePolicy::Each, "transaction"));
    assert!(BundlePolicy::default().takes_all_or_none(BundleKind::Document));
}
