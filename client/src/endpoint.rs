//! Where a node listens: `host:port`, wherever it is written down. One form for files, environment
//! and flags, so that a slip is told at once with the form that was meant, and not after a minute
//! in which an address that cannot be was dialled.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

use crate::error::ClientError;

/// Longest host name of DNS, characters.
const HOST_CHARS_MAX: usize = 253;
/// Longest label of a host name, characters.
const LABEL_CHARS_MAX: usize = 63;

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    /// Without the brackets of an IPv6 address.
    host: String,
    /// Never 0.
    port: u16,
}

impl Endpoint {
    /// A name or an IP address, which has no brackets here.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Why a text is no endpoint, with the form that was meant where that is plain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("endpoint {text}: {why}")]
pub struct NoEndpoint {
    /// As it was written, in quotes; left out where a password may stand in it.
    text: String,
    why: String,
}

impl From<NoEndpoint> for ClientError {
    fn from(error: NoEndpoint) -> Self {
        Self::Usage(error.to_string())
    }
}

impl TryFrom<String> for Endpoint {
    type Error = NoEndpoint;

    fn try_from(text: String) -> Result<Self, NoEndpoint> {
        text.parse()
    }
}

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        let text = text.trim();
        if text.contains('@') {
            let why = "a user or a password has no place here; give host:port".to_owned();
            return Err(NoEndpoint { text: "(not shown)".to_owned(), why });
        }
        parse(text).map_err(|why| NoEndpoint { text: format!("\"{text}\""), why })
    }
}

fn parse(text: &str) -> Result<Endpoint, String> {
    if text.is_empty() {
        return Err("is empty; give host:port".to_owned());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let meant = parse(rest.trim_end_matches('/')).map_or_else(|_| "host:port".to_owned(), |e| e.to_string());
        return Err(format!("give it without {scheme}:// ({meant})"));
    }
    if let Some((before, _)) = text.split_once(['/', '?', '#', '\\']) {
        let meant = parse(before).map_or_else(|_| "host:port".to_owned(), |e| e.to_string());
        return Err(format!("a path has no place here ({meant})"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("holds a space; several endpoints are separated by commas".to_owned());
    }
    let (host, port) = split(text)?;
    Ok(Endpoint { host: checked_host(host)?.to_owned(), port: checked_port(port)? })
}

/// Host without brackets, and port.
fn split(text: &str) -> Result<(&str, &str), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']').ok_or("the bracket is not closed; give [host]:port")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("what stands in brackets is no IPv6 address".to_owned());
        }
        let no_port = || format!("has no port; give [{host}]:port");
        return Ok((host, behind.strip_prefix(':').ok_or_else(no_port)?));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("an IPv6 address stands in brackets, and the port behind them; give [{text}]:port"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| format!("has no port; give {text}:port"))?;
    match host.contains(':') {
        true => Err("has more than one colon; give host:port".to_owned()),
        false => Ok((host, port)),
    }
}

fn checked_host(host: &str) -> Result<&str, String> {
    if host.is_empty() {
        return Err("has no host; give host:port".to_owned());
    }
    // Of an IPv6 address that was read before.
    if host.contains(':') {
        return Ok(host);
    }
    if !host.is_ascii() {
        return Err("a host name is written in ASCII, an international one as xn--...".to_owned());
    }
    if let Some(odd) = host.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.' | '_')) {
        return Err(format!("a host name holds no {odd}"));
    }
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    if host.len() > HOST_CHARS_MAX || labels.clone().any(|label| label.is_empty() || label.len() > LABEL_CHARS_MAX) {
        return Err("a part of the host name is empty or too long".to_owned());
    }
    let numeric = labels.next_back().is_some_and(|label| label.chars().all(|c| c.is_ascii_digit()));
    match numeric && host.parse::<Ipv4Addr>().is_err() {
        true => Err(format!("{host} is no IPv4 address")),
        false => Ok(host),
    }
}

fn checked_port(port: &str) -> Result<u16, String> {
    let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
    let number = port.parse().ok().filter(|port| digits && *port != 0);
    number.ok_or_else(|| match port {
        "" => "has no port; give host:port".to_owned(),
        _ => format!("the port is none of 1 to {}", u16::MAX),
    })
}

#[cfg(test)]
mod tests;
