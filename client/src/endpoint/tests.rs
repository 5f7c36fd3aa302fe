#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn every_form_that_leads_somewhere_is_read() {
    for (text, host, port) in [
        ("127.0.0.1:7401", "127.0.0.1", 7401),
        (" node.a.example:7401 ", "node.a.example", 7401),
        ("node.a.example.:1", "node.a.example.", 1),
        ("localhost:65535", "localhost", 65_535),
        ("consilium_node-1:7401", "consilium_node-1", 7401),
        ("[::1]:7401", "::1", 7401),
        ("[2001:db8::a]:443", "2001:db8::a", 443),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port()), (host, port));
        assert_eq!(endpoint.to_string(), text.trim());
    }
}

#[test]
fn what_leads_nowhere_is_told_with_the_form_that_was_meant() {
    for (text, told) in [
        ("https://127.0.0.1:7401", "endpoint \"https://127.0.0.1:7401\": give it without https:// (127.0.0.1:7401)"),
        ("https://node.a.example:7401/", "without https:// (node.a.example:7401)"),
        ("grpc://node.a.example", "without grpc:// (host:port)"),
        ("node.a.example:7401/v1", "a path has no place here (node.a.example:7401)"),
        ("node.a.example:7401?x=1", "a path has no place here (node.a.example:7401)"),
        ("node.a.example", "has no port; give node.a.example:port"),
        ("node.a.example:", "has no port; give host:port"),
        (":7401", "has no host; give host:port"),
        ("", "is empty; give host:port"),
        ("node:0", "the port is none of 1 to 65535"),
        ("node:70000", "the port is none of 1 to 65535"),
        ("node:+7401", "the port is none of 1 to 65535"),
        ("::1", "give [::1]:port"),
        ("2001:db8::a", "give [2001:db8::a]:port"),
        ("[::1]", "has no port; give [::1]:port"),
        ("[::1:7401", "the bracket is not closed"),
        ("[node]:7401", "what stands in brackets is no IPv6 address"),
        ("a:1:2", "has more than one colon"),
        ("a:1 b:2", "holds a space; several endpoints are separated by commas"),
        ("a:1;b:2", "has more than one colon"),
        ("no!de:7401", "a host name holds no !"),
        ("a..b:7401", "a part of the host name is empty or too long"),
        ("kliník.example:7401", "an international one as xn--..."),
        ("256.1.1.1:7401", "256.1.1.1 is no IPv4 address"),
    ] {
        let error = text.parse::<Endpoint>().unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_password_is_never_repeated() {
    let error = "https://anna:secret@node:7401".parse::<Endpoint>().unwrap_err().to_string();
    assert!(error.contains("host:port") && !error.contains("secret") && !error.contains("anna"), "{error}");
}
