//! Why an exchange came to nothing, told so that a person knows what to do.

use std::error::Error;
use std::io;

use claviger_protocol::ipc::CallError;

use crate::platform::{self, FileError};
use crate::policy;

/// An exchange without a result. Licenses are untouched by every one of them.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Failure {
    #[error("The administrator's policy does not let this computer use the network")]
    Policy,
    #[error("The network is switched off in this daemon's settings")]
    SwitchedOff,
    #[error("The vendor's server address “{0}” may not be used: it must begin with https://")]
    Address(String),
    #[error("The name of the vendor's server{} could not be found", host(.0))]
    Dns(String),
    #[error("The vendor's server refused the connection")]
    Refused,
    #[error("The network is down, or there is no way to the vendor's server")]
    NoRoute,
    #[error("The vendor's server did not accept a connection in time")]
    ConnectTimeout,
    #[error("The vendor's server did not answer in time")]
    Timeout,
    #[error("The connection broke off before the answer was complete")]
    Cut,
    #[error("The connection to the vendor's server failed: {0}")]
    Connection(String),
    #[error("The server's TLS certificate is for another name: {0}")]
    TlsName(String),
    #[error("The server's TLS certificate has expired, or is not valid yet: {0}")]
    TlsExpired(String),
    #[error(
        "The server's TLS certificate is self-signed, or comes from an authority that this computer does not know"
    )]
    TlsUnknownIssuer,
    #[error("The server's TLS certificate is not acceptable: {0}")]
    Tls(String),
    #[error("The server sent the request elsewhere{}", target(.0))]
    Redirected(String),
    #[error("The answer is larger than any answer can be")]
    TooLarge,
    #[error("A web page came back instead of an answer: what answered is not an activation server")]
    Html,
    #[error("What came back is not an answer of an activation server")]
    NotAnAnswer,
    #[error("What answered is not an activation server (HTTP {status})")]
    NotAServer { status: u16 },
    #[error("The proxy asks for a user name and password")]
    ProxyRefused,
    #[error("The proxy {0}, which the administrator's policy names, cannot be reached")]
    ProxyUnreachable(String),
    #[error("The proxy {0}, which your settings name, cannot be reached")]
    OwnProxyUnreachable(String),
    #[error("The vendor's server {} (HTTP {status})", trouble(*.status))]
    ServerError { status: u16, retry_after: Option<u64> },
    #[error("The signed answer cannot be believed: {message}")]
    Untrusted { code: &'static str, message: String },
    #[error("The connection could not be prepared: {0}")]
    Setup(String),
    #[error("Nothing was sent, because the log of what is sent cannot be written")]
    Log(#[source] FileError),
}

fn host(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(", {name},") }
}

fn trouble(status: u16) -> &'static str {
    if matches!(status, 429 | 503) {
        "is busy, and takes no more requests for the moment"
    } else {
        "has a problem at the moment"
    }
}

fn target(to: &str) -> String {
    if to.is_empty() { String::new() } else { format!(", to {to}; that was not followed") }
}

impl Failure {
    /// A stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Policy | Self::SwitchedOff => "network_off",
            Self::Address(_) => "insecure_server",
            Self::Dns(_) => "dns",
            Self::Refused => "connection_refused",
            Self::NoRoute => "no_route",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::Cut => "cut_off",
            Self::Connection(_) => "connection_failed",
            Self::TlsName(_) => "tls_wrong_name",
            Self::TlsExpired(_) => "tls_expired",
            Self::TlsUnknownIssuer => "tls_unknown_issuer",
            Self::Tls(_) => "tls_failed",
            Self::Redirected(_) => "redirected",
            Self::TooLarge => "answer_too_large",
            Self::Html => "html_answer",
            Self::NotAnAnswer => "not_an_answer",
            Self::NotAServer { .. } => "not_a_server",
            Self::ProxyRefused => "proxy_refused",
            Self::ProxyUnreachable(_) | Self::OwnProxyUnreachable(_) => "proxy_unreachable",
            Self::ServerError { status: 429 | 503, .. } => "server_busy",
            Self::ServerError { .. } => "server_error",
            Self::Untrusted { .. } => "untrusted_answer",
            Self::Setup(_) => "connection_setup",
            Self::Log(_) => "sent_log",
        }
    }

    /// Whether this is sure to have come before any byte of the request was sent.
    #[must_use]
    pub fn reached_nobody(&self) -> bool {
        match self {
            Self::Policy
            | Self::SwitchedOff
            | Self::Address(_)
            | Self::Dns(_)
            | Self::Refused
            | Self::NoRoute
            | Self::ConnectTimeout
            | Self::TlsName(_)
            | Self::TlsExpired(_)
            | Self::TlsUnknownIssuer
            | Self::Tls(_)
            | Self::ProxyRefused
            | Self::ProxyUnreachable(_)
            | Self::OwnProxyUnreachable(_)
            | Self::Setup(_)
            | Self::Log(_) => true,
            Self::Timeout
            | Self::Cut
            | Self::Connection(_)
            | Self::Redirected(_)
            | Self::TooLarge
            | Self::Html
            | Self::NotAnAnswer
            | Self::NotAServer { .. }
            | Self::ServerError { .. }
            | Self::Untrusted { .. } => false,
        }
    }

    /// Seconds that the server asked to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::ServerError { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    fn advice(&self) -> String {
        let place = platform::policy_place();
        let fixed = match self {
            Self::Policy => &format!("{} Offline activation works without a network.", policy::advice()),
            Self::SwitchedOff => {
                "Switch it on with `claviger daemon settings --network on`. Offline activation works without a network."
            }
            Self::Address(_) => "Ask the vendor for a current vendor profile.",
            Self::Dns(_) => {
                "Check this computer's internet connection (and the proxy's name, where there is one), then try again."
            }
            Self::NoRoute => "Check this computer's internet connection, then try again.",
            Self::Refused | Self::ConnectTimeout | Self::Timeout | Self::Cut | Self::Connection(_) => {
                "Check this computer's internet connection, firewall and proxy, then try again; if others cannot reach \
                 it either, the vendor's server is down: try again later."
            }
            Self::TlsName(_) | Self::Tls(_) => {
                "Something between this computer and the vendor may be reading along: try another network, or tell the \
                 vendor."
            }
            Self::TlsExpired(_) => {
                "Check the date and time of this computer; if they are right, tell the vendor that its certificate has \
                 expired."
            }
            Self::TlsUnknownIssuer => &format!(
                "If your company inspects its traffic, ask the administrator to name the company's CA file as `ca_file` \
                 in {place}. Otherwise do not go on: someone may be posing as the vendor."
            ),
            Self::Redirected(_) | Self::Html | Self::NotAnAnswer | Self::NotAServer { .. } => {
                "A proxy or the login page of a network may stand in between: open a web page in your browser first, \
                 then try again."
            }
            Self::ProxyRefused => {
                "Name the proxy with its user and password in HTTPS_PROXY, in the policy, or with `claviger daemon settings \
                 --proxy URL`."
            }
            Self::OwnProxyUnreachable(_) => {
                "Check that it runs, or change it with `claviger daemon settings --proxy URL` (or `none`)."
            }
            Self::ProxyUnreachable(_) => {
                &format!("Check that it runs, and `proxy` in {place}; then restart the daemon.")
            }
            Self::TooLarge | Self::Untrusted { .. } => {
                "Something between this computer and the vendor changes what it says, or its server is broken: try \
                 another network, then tell the vendor."
            }
            Self::ServerError { retry_after: Some(seconds), .. } => {
                let wait = match seconds {
                    0 | 1 => "a second".to_owned(),
                    2..=120 => format!("{seconds} seconds"),
                    121..=7200 => format!("{} minutes", seconds.div_ceil(60)),
                    7201..=172_800 => format!("{} hours", seconds.div_ceil(3600)),
                    // No server means that; a number of days would only frighten.
                    _ => "a day or two".to_owned(),
                };
                return format!("Try again in {wait}. Your licenses are untouched.");
            }
            Self::ServerError { .. } => "Try again in a few minutes; if it lasts, tell the vendor.",
            Self::Setup(_) => &format!(
                "Check the proxy and CA file settings in {place}, the environment and `claviger daemon settings`."
            ),
            Self::Log(_) => {
                "Free some space or mend the permissions of the daemon's state folder, then try again."
            }
        };
        format!("{fixed} Your licenses are untouched.")
    }

    /// Why no answer began.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let links = || links(error);
        for link in links() {
            if let Some(tls) = find_tls(link) {
                return Self::of_tls(tls);
            }
        }
        if error.is_timeout() {
            return if error.is_connect() { Self::ConnectTimeout } else { Self::Timeout };
        }
        if links().any(|e| e.to_string().contains("dns error")) {
            let name = error.url().and_then(|url| url.host_str()).unwrap_or_default();
            return Self::Dns(name.to_owned());
        }
        for link in links() {
            if let Some(io) = link.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => return Self::Refused,
                    io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkDown => return Self::NoRoute,
                    io::ErrorKind::TimedOut => return Self::ConnectTimeout,
                    io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof => return Self::Cut,
                    _ => {}
                }
            }
        }
        let text = chain(error);
        if text.contains("proxy auth") || text.contains("407") {
            Self::ProxyRefused
        } else if !error.is_connect() && (text.contains("closed") || text.contains("incomplete")) {
            Self::Cut
        } else if !error.is_connect() && text.contains("too large") {
            Self::TooLarge
        } else if !error.is_connect() && text.contains("parse") {
            Self::NotAnAnswer
        } else {
            Self::Connection(text)
        }
    }

    /// Why an answer did not end.
    pub(super) fn of_body(error: &reqwest::Error) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Cut }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use rustls::CertificateError as C;
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                C::NotValidForName | C::NotValidForNameContext { .. } => Self::TlsName(why.to_string()),
                C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
                    Self::TlsExpired(why.to_string())
                }
                C::UnknownIssuer => Self::TlsUnknownIssuer,
                // A self-signed certificate that calls itself an authority.
                C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Self::TlsUnknownIssuer,
                other => Self::Tls(other.to_string()),
            },
            other => Self::Tls(other.to_string()),
        }
    }
}

impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        tracing::warn!(code = failure.code(), error = %failure, "an exchange failed");
        let message = format!("{failure}.");
        let advice = Some(failure.advice());
        match &failure {
            Failure::Log(file) => Self::Storage { code: file.code().to_owned(), message, advice },
            _ => Self::Unreachable { code: failure.code().to_owned(), message, advice },
        }
    }
}

/// An error and its causes.
fn links<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let this = next?;
        next = this.source();
        Some(this)
    })
}

/// TLS errors travel inside `io::Error`, whose `source` skips its own content.
fn find_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref::<rustls::Error>().or_else(|| find_tls(inner))
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.contains(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_one_is_told_to_wait_for_years() {
        let advice = |seconds| Failure::ServerError { status: 503, retry_after: Some(seconds) }.advice();
        assert!(advice(30).contains("30 seconds") && advice(600).contains("10 minutes"));
        assert!(advice(10_000).contains("3 hours"));
        assert!(advice(99_999_999).contains("a day or two"));
    }
}
