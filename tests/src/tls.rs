//! Certificates for a server on loopback: one good authority, and everything that can be wrong with a certificate.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, for whoever is to trust it.
    pub pem: String,
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It is for another name.
    WrongName,
    /// It ended in 2020.
    Expired,
    /// Nobody vouches for it but itself.
    SelfSigned,
}

impl Authority {
    /// A fresh authority.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Claviger test authority");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A server's side of TLS at `localhost`, with a flaw.
    #[must_use]
    pub fn server(&self, flaw: Flaw) -> Arc<ServerConfig> {
        let name = if flaw == Flaw::WrongName { "elsewhere.example" } else { "localhost" };
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if flaw == Flaw::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = if flaw == Flaw::SelfSigned {
            params.self_signed(&key).unwrap()
        } else {
            params.signed_by(&key, &self.issuer).unwrap()
        };
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)
            .unwrap();
        Arc::new(config)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Session id, and numbers and lengths of extensions, of the `ClientHello` that a connection begins with (RFC 8446, 4.1.2).
#[must_use]
pub fn client_hello(bytes: &[u8]) -> (Vec<u8>, Vec<(u16, usize)>) {
    assert_eq!((bytes[0], bytes[5]), (22, 1), "a handshake that begins with a greeting");
    let length = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    // Record 5, handshake 4, version 2, random 32.
    let mut at = 5 + 4 + 2 + 32;
    let session = bytes[at + 1..at + 1 + usize::from(bytes[at])].to_vec();
    at += 1 + session.len();
    at += 2 + length(at);
    at += 1 + usize::from(bytes[at]);
    let end = at + 2 + length(at);
    at += 2;
    let mut extensions = Vec::new();
    while at < end {
        extensions.push((u16::from_be_bytes([bytes[at], bytes[at + 1]]), length(at + 2)));
        at += 4 + length(at + 2);
    }
    (session, extensions)
}
