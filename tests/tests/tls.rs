//! TLS: only a server whose certificate is good for its name is spoken to, and an administrator can add an authority.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use claviger_protocol::documents::{KeyInHeader, sign};
use claviger_tests::Machine;
use claviger_tests::proxy::Proxy;
use claviger_tests::tls::{Authority, Flaw};
use claviger_tests::vendor::{Vendor, body};
use claviger_tests::world::License;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

const SYNTH: &str = "com.tls.synth";

struct Scene {
    folder: TempDir,
    vendor: Arc<Vendor>,
    proxy: Proxy,
}

/// An honest vendor behind a certificate that may not be.
fn scene(authority: &Authority, flaw: Flaw) -> Scene {
    let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
    let vendor = Arc::new(Vendor::new("com.tls", "TLS"));
    let honest = vendor.clone();
    let server = claviger_tests::http::serve(move |seen| {
        let Some(asked) = honest.read(&seen.body) else { return (404, "{}".to_owned()) };
        let certificate = sign(&honest.certificate(&asked, SYNTH), &honest.issuing, KeyInHeader::Named);
        let answer = honest.answer(&asked, certificate);
        (200, body(&sign(&answer, &honest.issuing, KeyInHeader::Named)))
    });
    let proxy = Proxy::start(Some(authority.server(flaw)));
    proxy.set_upstream(Some(server));
    let url = format!("https://localhost:{}", proxy.address.port());
    std::fs::write(folder.path().join("p.clvprofile"), vendor.profile(&url)).unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    Scene { folder, vendor, proxy }
}

fn machine(scene: &Scene, trusted: Option<&Path>) -> (Machine, License) {
    let mut machine = Machine::this(&scene.folder.path().join("m"));
    if let Some(file) = trusted {
        machine.env.push(("SSL_CERT_FILE".to_owned(), file.display().to_string()));
    }
    machine.start_daemon();
    machine.add_vendor(&scene.folder.path().join("p.clvprofile"));
    (machine, scene.vendor.license())
}

#[test]
fn a_good_certificate_of_a_trusted_authority_is_spoken_to() {
    let authority = Authority::new();
    let scene = scene(&authority, Flaw::None);
    let (machine, license) = machine(&scene, Some(&scene.folder.path().join("ca.pem")));
    let _said = machine.activate(&license).ok();
    assert!(machine.is_licensed(SYNTH));
}

#[test]
fn flawed_certificates_are_not() {
    let authority = Authority::new();
    for (flaw, word) in
        [(Flaw::WrongName, "name"), (Flaw::Expired, "expired"), (Flaw::SelfSigned, "certificate")]
    {
        let scene = scene(&authority, flaw);
        let (machine, license) = machine(&scene, Some(&scene.folder.path().join("ca.pem")));
        let done = machine.activate(&license).refused();
        assert_eq!(done.code, Some(9), "{flaw:?}: {done}");
        assert!(done.text().contains(word), "{flaw:?}: “{word}” is missing: {done}");
        assert!(!machine.is_licensed(SYNTH));
        assert_eq!(scene.proxy.requests(), 0, "{flaw:?}: nothing was told to it");
    }
}

#[test]
fn an_authority_that_nobody_added_is_not_trusted() {
    let authority = Authority::new();
    let scene = scene(&authority, Flaw::None);
    let (machine, license) = machine(&scene, None);
    let done = machine.activate(&license).refused();
    assert_eq!(done.code, Some(9), "{done}");
    assert_eq!(scene.proxy.requests(), 0);
}
