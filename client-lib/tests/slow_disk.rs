//! A disk that hangs: a FUSE file system whose server never answers. Needs root; without it the test says so.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use claviger_client::platform::Places;
use claviger_client::{OpenOptions, Status};
use common::{SYNTH, World};
use rustix::mount::{MountFlags, UnmountFlags};

/// Mounted until dropped; the kernel then answers all who wait with an error.
struct Stalled(std::path::PathBuf, Option<std::fs::File>);

impl Stalled {
    fn mount(at: &std::path::Path) -> Option<Self> {
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("stalled", at, "fuse", MountFlags::empty(), Some(options.as_c_str())).ok()?;
        Some(Self(at.to_owned(), Some(device)))
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.1 = None;
        let _ = rustix::mount::unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[test]
fn a_disk_that_hangs_holds_nobody_up() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    let Some(mut stalled) = Stalled::mount(folder.path()) else {
        println!("not run: mounting a FUSE file system needs root and /dev/fuse");
        return;
    };
    // The certificates are behind a link into the mount: the link alone looks harmless.
    std::os::unix::fs::symlink(folder.path(), world.certs()).unwrap();
    let library = claviger_client::Library::builder(Places::below(world.home.path())).build();
    let vendor = library.vendor(&world.profile).unwrap();
    let begun = Instant::now();
    let license = vendor.open(SYNTH, OpenOptions::new()).unwrap();
    let first = begun.elapsed();
    assert_eq!(license.status(), Status::Pending);
    assert!(license.status().is_licensed());
    let begun = Instant::now();
    for n in 0..64 {
        assert_eq!(
            vendor.open(&format!("com.example.p{n}"), OpenOptions::new()).unwrap().status(),
            Status::Pending
        );
        assert_eq!(vendor.open(SYNTH, OpenOptions::new()).unwrap().status(), Status::Pending);
    }
    let rest = begun.elapsed();
    // What waited for this disk would wait for ever; the bound is for machines with much else to do.
    assert!(first < Duration::from_secs(10), "{first:?}");
    assert!(rest < Duration::from_secs(10), "{rest:?}");
    // Closing does not wait for the disk either, and the truth arrives when the disk answers.
    let begun = Instant::now();
    drop(vendor);
    let kept = license.clone();
    drop(license);
    assert!(begun.elapsed() < Duration::from_secs(10));
    let (tell, told) = std::sync::mpsc::channel();
    stalled.1 = None;
    let waiting = std::thread::spawn(move || {
        while kept.status() == Status::Pending {
            std::thread::yield_now();
        }
        tell.send(kept.status()).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Status::StateUnreachable));
    waiting.join().unwrap();
}
