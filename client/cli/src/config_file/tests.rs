#![allow(clippy::unwrap_used)]
use super::*;

const TEXT: &str = r#"
genesis = "genesis.pb"
certificate = "/abs/a.pem"
endpoints = ["127.0.0.1:7401"]

[profile.night]
trust = "invitation.pb"
certificate = "night.pem"
signing_key = "night.signing.key"
"#;

#[test]
fn default_profile_has_the_top_keys() {
    let profile = parse(TEXT, Path::new("/etc/c"), None).unwrap();
    let expected = Profile {
        genesis: Some("/etc/c/genesis.pb".into()),
        certificate: Some("/abs/a.pem".into()),
        endpoints: vec!["127.0.0.1:7401".into()],
        ..Profile::default()
    };
    assert_eq!(profile, expected);
}

#[test]
fn named_profile_stands_over_the_defaults() {
    let profile = parse(TEXT, Path::new("/etc/c"), Some("night")).unwrap();
    assert_eq!(profile.genesis, Some("/etc/c/genesis.pb".into()));
    assert_eq!(profile.trust, Some("/etc/c/invitation.pb".into()));
    assert_eq!(profile.certificate, Some("/etc/c/night.pem".into()));
    assert_eq!(profile.signing_key, Some("/etc/c/night.signing.key".into()));
}

#[test]
fn whose_nodes_and_which_age_are_settings() {
    let text = "nodes_of = [\"*\"]\nmax_head_age_s = 60\n[profile.own]\nnodes_of = []\n[profile.two]\nnodes_of = [\"b.example\"]\n";
    let profile = |name| parse(text, Path::new(""), name).unwrap();
    assert_eq!(profile(None).nodes_of, Some(NodesOf::Any));
    assert_eq!(profile(None).max_head_age, Some(HeadAge::Within(Duration::from_secs(60))));
    assert_eq!(profile(Some("own")).nodes_of, Some(NodesOf::Own));
    let members = ["b.example".parse().unwrap()].into();
    assert_eq!(profile(Some("two")).nodes_of, Some(NodesOf::Also(members)));
    assert!(parse("nodes_of = [\"a b\"]", Path::new(""), None).unwrap_err().contains("is no member"));
}

#[test]
fn base_urls_of_own_servers_are_a_setting() {
    let text = "fhir_base = [\"https://EHR.example/fhir/\"]\n[profile.lab]\nfhir_base = [\"https://lab.example\"]\n";
    let bases = |name| parse(text, Path::new(""), name).unwrap().fhir_base;
    assert_eq!(bases(None), ["https://ehr.example/fhir".parse().unwrap()]);
    assert_eq!(bases(Some("lab")), ["https://lab.example".parse().unwrap()]);
    let refused = parse("fhir_base = [\"ehr.example\"]", Path::new(""), None).unwrap_err();
    assert!(refused.contains("fhir_base: \"ehr.example\" is no base URL"), "{refused}");
}

#[test]
fn how_fhir_is_judged_is_a_setting() {
    let url = "https://a.example/negated";
    let text = format!("fhir_modifier_extensions = [{url:?}]\n[profile.old]\nfhir_validation = \"warn\"\n");
    let profile = |name| parse(&text, Path::new(""), name).unwrap();
    assert_eq!(profile(None).validator().level, Validation::Strict);
    assert_eq!(profile(Some("old")).validator().level, Validation::Warn);
    assert_eq!(profile(Some("old")).fhir_modifier_extensions, [url]);
    let error = parse("fhir_validation = \"lax\"", Path::new(""), None).unwrap_err();
    assert!(error.contains("strict, warn, off"), "{error}");
}

#[test]
fn flags_win() {
    let over = Profile { endpoints: vec!["[::1]:1".into()], ..Profile::default() };
    let profile = overridden(parse(TEXT, Path::new(""), None).unwrap(), over);
    assert_eq!(profile.endpoints, ["[::1]:1"]);
    assert_eq!(profile.genesis, Some("genesis.pb".into()));
}

#[test]
fn unknown_keys_and_profiles_are_refused_with_the_line() {
    let error = parse("genesis = \"g\"\nsigningkey = \"k\"\n", Path::new(""), None).unwrap_err();
    assert!(error.starts_with("line 2: unknown field `signingkey`"), "{error}");
    let nested = "[profile.a]\nendpoint = [\"x:1\"]\n";
    assert!(parse(nested, Path::new(""), None).unwrap_err().starts_with("line 2: unknown field"));
    assert_eq!(parse(TEXT, Path::new(""), Some("day")).unwrap_err(), "has no profile \"day\"");
    assert_eq!(parse("[profile.a.profile.b]\n", Path::new(""), None).unwrap_err(), "a profile cannot hold profiles");
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_with_its_line_and_the_right_form() {
    let text = "genesis = \"g\"\nendpoints = [\"a:1\", \"https://node.a.example:7401\"]\n";
    let error = parse(text, Path::new(""), None).unwrap_err();
    assert!(error.starts_with("line 2: ") && error.contains("(node.a.example:7401)"), "{error}");
}
