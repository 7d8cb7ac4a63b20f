//! The only place that talks to the network.
//!
//! It takes typed envelopes with a stated purpose, writes what it sends into the private sent log before it sends it,
//! and gives back an answer, a refusal, or one of the [`Failure`]s. The HTTP client is built for one exchange and
//! dropped after it.

mod failure;
mod sent_log;

use std::cell::RefCell;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use claviger_protocol::clock::Clock;
use claviger_protocol::http::{AnswerBody, KeysetBody, MAX_ANSWER_BODY, Problem, RequestBody};
use claviger_protocol::ids::VendorId;
use serde::de::DeserializeOwned;

pub use failure::Failure;
pub use sent_log::{Record, SentLog};

use crate::policy::Policy;
use crate::telemetry::{Kind, Outgoing};

/// What may leave this machine, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// A signed request to use a license here.
    Activate(String),
    /// A signed request to learn what became of activations.
    Refresh(String),
    /// A signed request that delivers receipts.
    Deactivate(String),
    /// A signed question about who holds the seats.
    Seats(String),
    /// A signed request to end what another machine holds.
    Free(String),
    /// The vendor's keyset; says nothing about this machine.
    Keyset,
    /// The notice that a person wants to read; says nothing about this machine.
    Notice,
    /// Usage statistics that a person has agreed to.
    Telemetry(Outgoing),
}

impl Envelope {
    /// Why it is sent: a stable word of the sent log.
    #[must_use]
    pub fn purpose(&self) -> &'static str {
        match self {
            Self::Activate(_) => "activate",
            Self::Refresh(_) => "refresh",
            Self::Deactivate(_) => "deactivate",
            Self::Seats(_) => "seats",
            Self::Free(_) => "free",
            Self::Keyset => "keyset",
            Self::Notice => Kind::Notice.purpose(),
            Self::Telemetry(outgoing) => outgoing.purpose(),
        }
    }

    /// On what ground: a stable word of the sent log.
    #[must_use]
    pub fn basis(&self) -> &'static str {
        match self {
            Self::Activate(_) | Self::Refresh(_) | Self::Deactivate(_) | Self::Free(_) | Self::Keyset => {
                "contract"
            }
            Self::Notice | Self::Seats(_) => "request",
            Self::Telemetry(_) => "consent",
        }
    }

    fn path(&self) -> String {
        match self {
            Self::Notice => Kind::Notice.path().to_owned(),
            Self::Telemetry(outgoing) => outgoing.path().to_owned(),
            _ => format!("/v1/{}", self.purpose()),
        }
    }

    fn into_body(self) -> Option<String> {
        match self {
            Self::Activate(request)
            | Self::Refresh(request)
            | Self::Deactivate(request)
            | Self::Seats(request)
            | Self::Free(request) => {
                // A struct of one text always serializes.
                Some(serde_json::to_string(&RequestBody { request }).unwrap_or_default())
            }
            Self::Keyset | Self::Notice => None,
            Self::Telemetry(outgoing) => outgoing.body().map(ToOwned::to_owned),
        }
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A signed answer, in compact form; nothing of it was believed yet.
    Answer(String),
    /// The keyset.
    Keyset(KeysetBody),
    /// What a telemetry path or the notice's gives; empty when the server has taken a report.
    Plain(Vec<u8>),
    /// The server refused.
    Refused(Box<Problem>),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, TLS included.
    pub connect: Duration,
    /// The whole exchange.
    pub total: Duration,
    /// Bytes of an answer.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), total: Duration::from_secs(30), body: MAX_ANSWER_BODY }
    }
}

/// A problem body is short; a longer one is something else.
const MAX_PROBLEM: usize = 256 * 1024;

/// The way out.
#[derive(Debug)]
pub struct Egress {
    limits: Limits,
    log: SentLog,
    policy_network: bool,
    policy_proxy: Option<String>,
    ca_file: Option<PathBuf>,
    choices: RefCell<Choices>,
}

/// What a person has chosen; policy wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// The proxy for all requests; otherwise the environment decides.
    pub proxy: Option<String>,
    /// Whether the network may be used; it may when nothing was chosen.
    pub network: Option<bool>,
}

impl Egress {
    /// The way out that this policy leaves open; `sent` is the folder of the sent log.
    #[must_use]
    pub fn new(policy: &Policy, sent: PathBuf, limits: Limits) -> Self {
        Self {
            limits,
            log: SentLog::new(sent),
            policy_network: policy.network,
            policy_proxy: policy.proxy.clone(),
            ca_file: policy.ca_file.clone(),
            choices: RefCell::default(),
        }
    }

    /// Makes a person's choices hold from the next exchange on.
    pub fn choose(&self, choices: Choices) {
        *self.choices.borrow_mut() = choices;
    }

    /// What a person has chosen.
    #[must_use]
    pub fn choices(&self) -> Choices {
        self.choices.borrow().clone()
    }

    /// Whether policy and the person let anything out.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.policy_network && self.choices.borrow().network != Some(false)
    }

    fn proxy(&self) -> Option<String> {
        self.policy_proxy.clone().or_else(|| self.choices.borrow().proxy.clone())
    }

    /// The log of what this computer sent; what single persons agreed to is in logs of their own.
    #[must_use]
    pub fn log(&self) -> &SentLog {
        &self.log
    }

    /// Sends an envelope to a vendor's server.
    ///
    /// # Errors
    /// [`Failure`]: nothing can be concluded about what the server did.
    pub async fn send(
        &self,
        clock: &dyn Clock,
        vendor: &VendorId,
        server: &str,
        envelope: Envelope,
    ) -> Result<Reply, Failure> {
        self.send_logged(clock, &self.log, vendor, server, envelope).await
    }

    /// The same, written into a person's own log.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn send_logged(
        &self,
        clock: &dyn Clock,
        log: &SentLog,
        vendor: &VendorId,
        server: &str,
        envelope: Envelope,
    ) -> Result<Reply, Failure> {
        if !self.policy_network {
            return Err(Failure::Policy);
        }
        if !self.is_open() {
            return Err(Failure::SwitchedOff);
        }
        let base = check_server(server)?;
        let (purpose, basis) = (envelope.purpose(), envelope.basis());
        let url = url_of(server, &envelope.path());
        let bare = matches!(envelope, Envelope::Notice | Envelope::Telemetry(_));
        let body = envelope.into_body();
        let method = if body.is_some() { "POST" } else { "GET" };
        let record = Record::Sent {
            at: clock.now(),
            vendor: vendor.clone(),
            purpose: purpose.to_owned(),
            basis: basis.to_owned(),
            method: method.to_owned(),
            url: url.clone(),
            body: body.clone(),
        };
        log.append(clock.now(), &record).map_err(Failure::Log)?;
        if basis == "consent" {
            crate::fault::point("telemetry-logged");
        }
        let result = self.exchange(&base, &url, body, bare).await;
        let outcome = match &result {
            Ok((status, bytes)) => format!("HTTP {status}, {} bytes", bytes.len()),
            Err(failure) => failure.to_string(),
        };
        let answered = Record::Answered { at: clock.now(), vendor: vendor.clone(), url, outcome };
        // The request is out already; a log that cannot take the outcome must not lose the answer.
        if let Err(e) = log.append(clock.now(), &answered) {
            tracing::warn!(error = %e, "the outcome could not be written to the sent log");
        }
        let (status, bytes) = result?;
        if bare && matches!(status, 200 | 204) {
            return Ok(Reply::Plain(bytes));
        }
        read_reply(purpose == "keyset", status, &bytes)
    }

    async fn exchange(
        &self,
        base: &reqwest::Url,
        url: &str,
        body: Option<String>,
        bare: bool,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let client = self.client(base, bare)?;
        let request = match body {
            Some(body) => client.post(url).header("content-type", "application/json").body(body),
            None => client.get(url),
        };
        let request = if bare {
            request
        } else {
            request.header("accept", "application/json, application/problem+json")
        };
        let mut response = request.send().await.map_err(|e| self.not_reached(base, Failure::of(&e)))?;
        let status = response.status().as_u16();
        if (300..400).contains(&status) {
            let target = response.headers().get("location").and_then(|v| v.to_str().ok()).unwrap_or("");
            return Err(Failure::Redirected(target.chars().filter(|c| !c.is_control()).take(200).collect()));
        }
        let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
        let limit = if status == 200 { self.limits.body } else { MAX_PROBLEM };
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| Failure::of_body(&e))? {
            if bytes.len() + chunk.len() > limit {
                return Err(Failure::TooLarge);
            }
            bytes.extend_from_slice(&chunk);
        }
        // A limit that the server explains itself is a refusal; one without an explanation may be its front door's.
        let limited = status == 429 && parse::<Problem>(&bytes).is_err();
        if status >= 500 || limited {
            return Err(Failure::ServerError { status, retry_after });
        }
        Ok((status, bytes))
    }

    /// Whether the policy's proxy and CA file can be used at all; connects to nobody.
    ///
    /// # Errors
    /// [`Failure::Setup`].
    pub fn try_settings(&self) -> Result<(), Failure> {
        if self.proxy().is_none() && self.ca_file.is_none() {
            return Ok(());
        }
        // Any server that is not this machine is reached in the same way.
        let elsewhere = check_server("https://example.com")?;
        self.client(&elsewhere, true).map(drop)
    }

    /// Where nobody answered, the policy's proxy is who did not.
    fn not_reached(&self, base: &reqwest::Url, failure: Failure) -> Failure {
        match (self.proxy(), failure) {
            (
                Some(proxy),
                Failure::Refused | Failure::Dns(_) | Failure::ConnectTimeout | Failure::NoRoute,
            ) if !is_loopback(base) => match self.policy_proxy {
                Some(_) => Failure::ProxyUnreachable(shown(&proxy)),
                None => Failure::OwnProxyUnreachable(shown(&proxy)),
            },
            (_, failure) => failure,
        }
    }

    /// A client for one connection. A bare one does not even say which version of the daemon asks.
    fn client(&self, base: &reqwest::Url, bare: bool) -> Result<reqwest::Client, Failure> {
        // Idempotent; the provider is asked for by the TLS library when the client is built.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder();
        if !bare {
            builder = builder.user_agent(concat!("claviger/", env!("CARGO_PKG_VERSION")));
        }
        builder = builder
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.limits.connect)
            .timeout(self.limits.total)
            .pool_max_idle_per_host(0)
            .http1_only();
        if is_loopback(base) {
            // Loopback is this machine; a proxy would see another one.
            builder = builder.no_proxy();
            if base.scheme() == "http" {
                // Without TLS, the system's certificate authorities need not be read.
                builder = builder.tls_certs_only([]);
            }
        } else if let Some(proxy) = self.proxy() {
            let bad =
                |why: String| Failure::Setup(format!("the proxy {} cannot be used: {why}", shown(&proxy)));
            let address = check_proxy(&proxy).map_err(bad)?;
            let proxy = reqwest::Proxy::all(address).map_err(|e| bad(failure::chain(&e)))?;
            builder = builder.proxy(proxy);
        }
        if let Some(path) = &self.ca_file {
            let setup = |why: String| Failure::Setup(format!("the CA file {}: {why}", path.display()));
            let pem = crate::platform::read_bounded(path, 4 * 1024 * 1024)
                .map_err(|e| setup(e.source.to_string()))?
                .ok_or_else(|| setup("there is no such file".to_owned()))?;
            let extra = reqwest::Certificate::from_pem_bundle(&pem).map_err(|e| setup(e.to_string()))?;
            if extra.is_empty() {
                return Err(setup("it holds no certificate".to_owned()));
            }
            builder = builder.tls_certs_merge(extra);
        }
        builder.build().map_err(|e| Failure::Setup(failure::chain(&e)))
    }
}

/// Whether a text is a proxy's address.
///
/// # Errors
/// Why not.
pub fn check_proxy(text: &str) -> Result<reqwest::Url, String> {
    let address = reqwest::Url::parse(text).map_err(|e| e.to_string())?;
    let good = matches!(address.scheme(), "http" | "https")
        && address.has_host()
        && address.path() == "/"
        && address.query().is_none()
        && address.fragment().is_none()
        && text.len() <= 512;
    if good { Ok(address) } else { Err("it must read like http://proxy.example.com:3128".to_owned()) }
}

/// A proxy's address without the password that may be in it.
#[must_use]
pub fn shown(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("", proxy));
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let text = if scheme.is_empty() { place.to_owned() } else { format!("{scheme}://{place}") };
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// The address of a path at a vendor's server.
#[must_use]
pub fn url_of(server: &str, path: &str) -> String {
    format!("{}{path}", server.trim_end_matches('/'))
}

/// Whether a server's address may be used: `https`, or `http` to this machine itself.
///
/// # Errors
/// [`Failure::Address`].
pub fn check_server(server: &str) -> Result<reqwest::Url, Failure> {
    let bad = || Failure::Address(server.chars().filter(|c| !c.is_control()).take(200).collect());
    let url = reqwest::Url::parse(server).map_err(|_| bad())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let fits = match url.scheme() {
        "https" => true,
        "http" => is_loopback(&url),
        _ => false,
    };
    if fits && plain && url.has_host() { Ok(url) } else { Err(bad()) }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn read_reply(keyset: bool, status: u16, bytes: &[u8]) -> Result<Reply, Failure> {
    if status == 200 {
        return if keyset {
            parse(bytes).map(Reply::Keyset)
        } else {
            parse::<AnswerBody>(bytes).map(|body| Reply::Answer(body.answer))
        };
    }
    match parse::<Problem>(bytes) {
        Ok(problem) => Ok(Reply::Refused(Box::new(problem))),
        Err(_) if status == 407 => Err(Failure::ProxyRefused),
        Err(_) => Err(Failure::NotAServer { status }),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    claviger_protocol::json::from_slice_strict(bytes).map_err(|_| {
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"<") { Failure::Html } else { Failure::NotAnAnswer }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_https_or_this_machine() {
        for good in [
            "https://activate.example.com",
            "https://example.com:8443/claviger/",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://localhost:1",
        ] {
            assert!(check_server(good).is_ok(), "{good}");
        }
        for bad in [
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://10.0.0.1",
            "ftp://localhost",
            "file:///etc/passwd",
            "https://user:secret@example.com",
            "https://example.com?x=1",
            "",
            "example.com",
            "http://0.0.0.0",
        ] {
            assert!(check_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn proxies_are_plain_addresses() {
        for good in
            ["http://proxy.example.com:3128", "https://user:secret@proxy.example.com", "http://[::1]:8080/"]
        {
            assert!(check_proxy(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "none",
            "proxy.example.com:3128",
            "socks5://a:1",
            "http://",
            "http://a/b",
            "http://a?b",
            "file:///a",
        ] {
            assert!(check_proxy(bad).is_err(), "{bad}");
        }
        assert_eq!(shown("http://user:secret@proxy.example.com:3128"), "http://proxy.example.com:3128");
    }

    #[test]
    fn policy_wins_over_what_a_person_chooses() {
        let egress = |policy: &Policy| Egress::new(policy, PathBuf::from("/nowhere"), Limits::default());
        let mine = Choices { proxy: Some("http://mine:1".to_owned()), network: Some(false) };
        let free = egress(&Policy::default());
        assert!(free.is_open() && free.proxy().is_none());
        free.choose(mine.clone());
        assert_eq!((free.is_open(), free.proxy().as_deref()), (false, Some("http://mine:1")));
        let bound = egress(&Policy {
            network: false,
            proxy: Some("http://theirs:1".to_owned()),
            ..Policy::default()
        });
        bound.choose(Choices { network: Some(true), ..mine });
        assert_eq!((bound.is_open(), bound.proxy().as_deref()), (false, Some("http://theirs:1")));
    }

    #[test]
    fn answers_are_told_from_pages() {
        assert!(matches!(read_reply(false, 200, b"<html>"), Err(Failure::Html)));
        assert!(matches!(read_reply(false, 200, b"{}"), Err(Failure::NotAnAnswer)));
        assert!(matches!(read_reply(false, 404, b"not found"), Err(Failure::NotAServer { status: 404 })));
        assert!(matches!(read_reply(false, 200, br#"{"answer":"a.b.c"}"#), Ok(Reply::Answer(_))));
        let problem = br#"{"code":"seats_taken","status":409}"#;
        assert!(matches!(read_reply(false, 409, problem), Ok(Reply::Refused(_))));
    }
}
