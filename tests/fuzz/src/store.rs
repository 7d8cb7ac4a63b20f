//! The fuzz target of what a plug-in reads inside a stranger's process: one file of a good store is replaced by any
//! bytes. Nothing panics, nothing but the vendor's own signature licenses, and a perpetual license is taken away by
//! nothing but its receipt.

#[path = "../../../protocol/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use claviger_client::platform::Places;
use claviger_client::{Library, OpenOptions, Status};
use claviger_protocol::clock::{Clock, Timestamp};
use claviger_protocol::documents::{ActivationCertificate, Receipt};
use common::documents as example;

/// What the operating system of the example machine says.
const OS_MACHINE_ID: &str = "0123456789abcdef0123456789abcdef";

#[derive(Debug)]
struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        common::NOW
    }
}

/// The good store, in memory where the system has such a place.
static HOME: LazyLock<Mutex<tempfile::TempDir>> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    Mutex::new(made.expect("a temporary folder"))
});

/// The first byte chooses the file, the rest is its content.
pub fn client_store(data: &[u8]) {
    let Some((&which, content)) = data.split_first() else { return };
    let home = HOME.lock().unwrap_or_else(PoisonError::into_inner);
    let vendor = home.path().join("certs").join(common::vendor().as_str());
    let product = vendor.join("products").join(common::product("synth").as_str());
    let _ = fs::remove_dir_all(home.path().join("certs"));
    fs::create_dir_all(&product).expect("the store is made");
    let certificate = product.join(format!("{}.cert", common::activation()));
    let good = common::signed(&example::perpetual(), &common::issuing());
    put(&certificate, good.as_bytes());
    let chosen = match which % 6 {
        0 => certificate,
        1 => product.join(format!("{}.receipt", common::activation())),
        2 => product.join(format!("{}.ended", common::activation())),
        3 => vendor.join("keyset.jws"),
        4 => vendor.join("sunset.jws"),
        _ => home.path().join("certs/clock.json"),
    };
    put(&chosen, content);

    let profile = common::signed(&example::profile(), &common::root());
    let library = Library::builder(Places::below(home.path()))
        .os_machine_id(Some(OS_MACHINE_ID.to_owned()))
        .clock(Arc::new(Frozen))
        .build();
    let vendor = library.vendor(&profile).expect("the profile is good");
    let license = vendor.open("com.soluna.synth", OpenOptions::new()).expect("the product id is good");
    let status = license.status();
    let text = std::str::from_utf8(content).unwrap_or_default();
    match which % 6 {
        0 => {
            let believed = ActivationCertificate::verify(text, &example::keyset()).is_ok();
            assert!(believed || !status.is_licensed(), "{status:?}");
        }
        1 => {
            let given_up = Receipt::peek(text).is_ok_and(|r| r.activation == common::activation());
            assert!(status == Status::Licensed || given_up, "{status:?}");
        }
        _ => assert_eq!(status, Status::Licensed),
    }
}

fn put(path: &PathBuf, content: &[u8]) {
    fs::write(path, content).expect("the file is written");
}
