//! Certificates for HTTPS: read from PEM files, looked at before use so that a mistake is named at the start and not by
//! every customer, and read again on SIGHUP without dropping a connection.

mod validity;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use claviger_protocol::clock::{Clock, SystemClock, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::platform::Hangup;

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum TlsError {
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a PEM file of {what}: {why}", path.display())]
    NotPem { path: PathBuf, what: &'static str, why: String },
    #[error(
        "{} holds a private key, and {} was to be one: --tls-cert and --tls-key look exchanged",
        cert.display(), key.display()
    )]
    Exchanged { cert: PathBuf, key: PathBuf },
    #[error("the private key in {} does not belong to the certificate in {}", key.display(), cert.display())]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("the certificate in {} ended on {at}: renew it, then start again", path.display())]
    Expired { path: PathBuf, at: Timestamp },
    #[error("the certificate in {} begins on {at}, later than this machine's clock", path.display())]
    NotYet { path: PathBuf, at: Timestamp },
    #[error("the certificate in {} cannot be used: {why}", path.display())]
    Unusable { path: PathBuf, why: String },
    #[error("the private key in {} is of a kind that is not supported", path.display())]
    Key { path: PathBuf, source: rustls::Error },
}

/// An acceptor for the certificate chain and key in these files. Within a runtime they are read again on SIGHUP: good
/// ones are used for new connections, bad ones leave the former in force and are logged.
///
/// # Errors
/// [`TlsError`], which says which file is wrong and why.
pub fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let reloader = Arc::new(Reloader::load(cert, key, Arc::new(SystemClock))?);
    let config = reloader.config()?;
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(reload_on_sighup(Arc::clone(&reloader)));
    }
    Ok(TlsAcceptor::from(config))
}

async fn reload_on_sighup(reloader: Arc<Reloader>) {
    let mut signals = match Hangup::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be heard; a renewed certificate needs a restart");
            return;
        }
    };
    while signals.heard().await {
        match reloader.reload() {
            Ok(()) => tracing::info!("the TLS certificate was read again"),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the TLS certificate could not be read again; the former stays in use"
            ),
        }
    }
}

/// The certificate in use, which can be exchanged while the server runs.
pub struct Reloader {
    cert: PathBuf,
    key: PathBuf,
    clock: Arc<dyn Clock>,
    current: Arc<Current>,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Reloader {
    /// Reads the files and looks at them.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(cert: &Path, key: &Path, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(Arc::new(read_pair(cert, key, clock.now())?))));
        Ok(Self { cert: cert.to_owned(), key: key.to_owned(), clock, current })
    }

    /// Reads the files again; new connections get the new certificate.
    ///
    /// # Errors
    /// [`TlsError`]; the former certificate stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = Arc::new(read_pair(&self.cert, &self.key, self.clock.now())?);
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// A server's TLS settings that follow [`Self::reload`].
    ///
    /// # Errors
    /// [`TlsError::Unusable`] when TLS itself cannot be set up.
    pub fn config(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TlsError::Unusable { path: self.cert.clone(), why: e.to_string() })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn read_pair(cert: &Path, key: &Path, now: Timestamp) -> Result<CertifiedKey, TlsError> {
    let chain_pem = read(cert)?;
    let key_pem = zeroize::Zeroizing::new(read(key)?);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&chain_pem)
        .collect::<Result<_, _>>()
        .map_err(|e| not_pem(cert, "certificates", &e))?;
    let private = PrivateKeyDer::from_pem_slice(&key_pem);
    let Some(first) = chain.first() else {
        if PrivateKeyDer::from_pem_slice(&chain_pem).is_ok() {
            return Err(TlsError::Exchanged { cert: cert.to_owned(), key: key.to_owned() });
        }
        let why = "no CERTIFICATE section is in it".to_owned();
        return Err(TlsError::NotPem { path: cert.to_owned(), what: "certificates", why });
    };
    let private = private.map_err(|e| match e {
        pem::Error::NoItemsFound => {
            let why = "no unencrypted PRIVATE KEY section is in it".to_owned();
            TlsError::NotPem { path: key.to_owned(), what: "a private key", why }
        }
        other => not_pem(key, "a private key", &other),
    })?;
    let valid = validity::of(first).ok_or_else(|| TlsError::Unusable {
        path: cert.to_owned(),
        why: "it is not an X.509 certificate".to_owned(),
    })?;
    if now > valid.until {
        return Err(TlsError::Expired { path: cert.to_owned(), at: valid.until });
    }
    // A day's difference between this clock and the authority's is no reason to refuse.
    if now.plus(claviger_protocol::clock::DAY) < valid.from {
        return Err(TlsError::NotYet { path: cert.to_owned(), at: valid.from });
    }
    let signer = rustls::crypto::ring::sign::any_supported_type(&private)
        .map_err(|source| TlsError::Key { path: key.to_owned(), source })?;
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() })
        }
        Err(other) => Err(TlsError::Unusable { path: cert.to_owned(), why: other.to_string() }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, what: &'static str, error: &pem::Error) -> TlsError {
    TlsError::NotPem { path: path.to_owned(), what, why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::pki_types::ServerName;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[derive(Debug)]
    struct Fixed(i64);

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp(self.0)
        }
    }

    const NOW: i64 = 1_795_305_600;

    struct Files {
        dir: tempfile::TempDir,
    }

    impl Files {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }
        fn cert(&self) -> PathBuf {
            self.dir.path().join("cert.pem")
        }
        fn key(&self) -> PathBuf {
            self.dir.path().join("key.pem")
        }
        fn write(&self, years: (i32, i32)) -> Vec<u8> {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_before = date_time_ymd(years.0, 1, 1);
            params.not_after = date_time_ymd(years.1, 1, 1);
            let cert = params.self_signed(&key).unwrap();
            std::fs::write(self.cert(), cert.pem()).unwrap();
            std::fs::write(self.key(), key.serialize_pem()).unwrap();
            cert.der().to_vec()
        }
        fn load(&self) -> Result<Reloader, TlsError> {
            Reloader::load(&self.cert(), &self.key(), Arc::new(Fixed(NOW)))
        }
    }

    #[test]
    fn wrong_files_are_named_with_what_is_wrong() {
        let files = Files::new();
        files.write((2020, 2030));
        assert!(files.load().is_ok());
        let (cert, key) = (std::fs::read(files.cert()).unwrap(), std::fs::read(files.key()).unwrap());

        std::fs::write(files.cert(), &key).unwrap();
        std::fs::write(files.key(), &cert).unwrap();
        assert!(matches!(files.load(), Err(TlsError::Exchanged { .. })));
        std::fs::write(files.cert(), &cert).unwrap();
        assert!(matches!(files.load(), Err(TlsError::NotPem { what: "a private key", .. })));
        std::fs::write(files.cert(), [0x30, 0x82, 1, 2]).unwrap();
        assert!(matches!(files.load(), Err(TlsError::NotPem { what: "certificates", .. })));
        std::fs::remove_file(files.cert()).unwrap();
        assert!(matches!(files.load(), Err(TlsError::Read { .. })));

        files.write((2020, 2030));
        std::fs::write(files.key(), &key).unwrap();
        assert!(matches!(files.load(), Err(TlsError::Mismatch { .. })));
        files.write((2020, 2026));
        assert!(files.load().unwrap_err().to_string().contains("2026-01-01"));
        files.write((2027, 2030));
        assert!(matches!(files.load(), Err(TlsError::NotYet { .. })));
        let garbage = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n";
        std::fs::write(files.cert(), garbage).unwrap();
        assert!(matches!(files.load(), Err(TlsError::Unusable { .. })));
    }

    async fn served_certificate(acceptor: TlsAcceptor, trusted: &[u8]) -> Result<(), std::io::Error> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(trusted.to_vec())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let server = tokio::spawn(async move {
            let mut stream = acceptor.accept(far).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        });
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), near).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert_eq!(text, "hello");
        server.await.unwrap()
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_served_and_a_bad_one_leaves_the_former() {
        let files = Files::new();
        // The client below looks at the real clock.
        let first = files.write((2020, 2090));
        let reloader = files.load().unwrap();
        let acceptor = TlsAcceptor::from(reloader.config().unwrap());
        served_certificate(acceptor.clone(), &first).await.unwrap();
        std::fs::write(files.key(), "broken").unwrap();
        assert!(reloader.reload().is_err());
        served_certificate(acceptor.clone(), &first).await.unwrap();
        let second = files.write((2020, 2090));
        reloader.reload().unwrap();
        served_certificate(acceptor.clone(), &second).await.unwrap();
        assert!(served_certificate(acceptor, &first).await.is_err());
    }
}
