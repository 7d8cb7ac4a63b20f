//! Certificates for HTTPS.
//!
//! What http/ uses of it (server-core relies on this name):
//! ```ignore
//! pub fn acceptor(cert: &Path, key: &Path) -> Result<tokio_rustls::TlsAcceptor, TlsError>;
//! ```
