#![allow(clippy::unwrap_used)]

use super::*;

const BASE: &str = "data_dir='d'\ngenesis='g'\n[identity]\ncertificate='c'\nkey='k'\nvote_key='v'\n\
                    [listen]\nclient='127.0.0.1:1'\npeer='127.0.0.1:2'\n";

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["g", "c", "k", "v"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    dir
}

fn load_with(text: &str, variables: &[(&str, &str)], overrides: Overrides) -> Result<Config, String> {
    let dir = folder();
    let file = dir.path().join("node.toml");
    std::fs::write(&file, text).unwrap();
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load_with(&file, variables, overrides).map_err(|e| e.to_string())
}

fn load(text: &str) -> Result<Config, String> {
    load_with(&format!("{BASE}{text}"), &[], Overrides::default())
}

#[test]
fn defaults_load_and_paths_follow_the_file() {
    let config = load("").unwrap();
    assert!(config.data_dir.is_absolute());
    assert_eq!(config.raft, Raft::default());
}

#[test]
fn a_folder_given_by_a_flag_is_the_shells() {
    let given = Overrides::given_in(Path::new("/home/operator"), Some("fresh".into()));
    assert_eq!(load_with(BASE, &[], given).unwrap().data_dir, Path::new("/home/operator/fresh"));
    let given = Overrides::given_in(Path::new("/home/operator"), Some("/srv/fresh".into()));
    assert_eq!(load_with(BASE, &[], given).unwrap().data_dir, Path::new("/srv/fresh"));
    // One in the environment follows the file, as what it stands for does.
    let config = load_with(BASE, &[("CONSILIUM_NODE_DATA_DIR", "fresh")], Overrides::default()).unwrap();
    assert_eq!(config.data_dir.file_name(), Some("fresh".as_ref()));
    assert_eq!(config.data_dir.parent(), config.genesis.parent());
}

#[test]
fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    let text = format!("{BASE}[raft]\ntick='20ms'\n[log]\nformat='text'\n");
    let set = [
        ("CONSILIUM_NODE_RAFT__TICK", "30ms"),
        ("CONSILIUM_NODE_LIMITS__CONNECTIONS_MAX", "7"),
        ("CONSILIUM_NODE_DATA_DIR", "/srv/environment"),
        ("CONSILIUM_NODE_LISTEN__HTTP", "127.0.0.1:9"),
        ("CONSILIUM_NODE_SERVICE_HOST", "10.0.0.1"),
    ];
    let flag = Overrides::given_in(Path::new("/"), Some("/srv/flag".into()));
    let config = load_with(&text, &set, flag).unwrap();
    assert_eq!(config.raft.tick, Duration::from_millis(30));
    assert_eq!(config.log.format, LogFormat::Text);
    assert_eq!(config.limits.connections_max.get(), 7);
    assert_eq!(config.data_dir, Path::new("/srv/flag"));
    assert_eq!(config.listen.http, Some("127.0.0.1:9".parse().unwrap()));
}

#[test]
fn a_wrong_value_is_named_by_where_it_stands() {
    let wrong = load_with(BASE, &[("CONSILIUM_NODE_LOG__FORMAT", "xml")], Overrides::default()).unwrap_err();
    assert!(wrong.starts_with("environment variable CONSILIUM_NODE_LOG__FORMAT: "), "{wrong}");
    assert!(wrong.contains("xml") && wrong.contains("`json`"), "{wrong}");
    let wrong = load("[log]\nformat='xml'\n").unwrap_err();
    assert!(wrong.contains("node.toml, line 11: key `log.format`: "), "{wrong}");
    let wrong = load("[raft]\n# A comment.\nelection_tics=3\n").unwrap_err();
    let expected = "node.toml, line 12: key `raft.election_tics`: no such setting; did you mean `raft.election_ticks`?";
    assert!(wrong.ends_with(expected), "{wrong}");
    let wrong = load("[raft\n").unwrap_err();
    assert!(wrong.contains("node.toml, line 10: "), "{wrong}");
    let wrong = load_with(&BASE.replace("vote_key='v'\n", ""), &[], Overrides::default()).unwrap_err();
    assert!(wrong.ends_with("node.toml: key `identity.vote_key`: is missing"), "{wrong}");
}

#[test]
fn misfits_are_named() {
    let error = load("[raft]\nheartbeat_ticks=30\n").unwrap_err();
    assert!(error.contains("raft.heartbeat_ticks"), "{error}");
    let error = load("[limits]\naccess_requests_per_minute=0\n").unwrap_err();
    assert!(error.contains("limits.access_requests_per_minute"), "{error}");
    let error = load("[limits]\naccess_requests_per_minute=600\naccess_requests_burst=9\n").unwrap_err();
    assert!(error.contains("limits.access_requests_burst"), "{error}");
    assert!(load("[limits]\naccess_requests_per_minute=600\naccess_requests_burst=10\n").is_ok());
    let error = load("[raft]\ntick='1us'\n").unwrap_err();
    assert!(error.contains("raft.tick"), "{error}");
    let error = load("[storage]\nopen_files_max=10\n").unwrap_err();
    assert!(error.contains("storage.open_files_max"), "{error}");
}
