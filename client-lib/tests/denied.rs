//! Stores that this process may not see. As root the test becomes another user in a process of its own.
#![cfg(target_os = "linux")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use claviger_client::Status;
use common::World;

#[test]
fn a_folder_that_may_not_be_read_is_unreachable() {
    let world = World::new();
    world.install(&world.certificate());
    if let Some(home) = std::env::var_os("CLAVIGER_TEST_DENIED") {
        let library =
            claviger_client::Library::builder(claviger_client::platform::Places::below(home.as_ref()));
        let vendor =
            library.os_machine_id(Some(common::OS.to_owned())).build().vendor(&world.profile).unwrap();
        let license = vendor.open(common::SYNTH, claviger_client::OpenOptions::new()).unwrap();
        assert_eq!(license.status(), Status::StateUnreachable);
        return;
    }
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(world.home.path(), 0o755);
    let product = world.folder(common::SYNTH);
    let certificate = product.join("07070707070707070707070707070707.cert");
    for path in [world.certs(), product, certificate] {
        let before = path.metadata().unwrap().permissions().mode();
        mode(&path, 0);
        let as_root = rustix::process::geteuid().is_root();
        // The test binary may lie where another user cannot go; a copy in the home can be run.
        let program = world.home.path().join("test");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let mut child = std::process::Command::new(&program);
        child.env("CLAVIGER_TEST_DENIED", world.home.path());
        if as_root {
            std::os::unix::process::CommandExt::uid(&mut child, 65_534);
        }
        let out = child.output().unwrap();
        assert!(out.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&out.stdout));
        mode(&path, before);
    }
    assert_eq!(world.open().status(), Status::Licensed);
}
