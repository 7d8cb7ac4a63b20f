//! A DAW that loads one plug-in, lets it process audio once and goes on standing there: a process whose path, arguments
//! and working folder say what a real one's say. Ends with its input.
#![expect(clippy::unwrap_used, reason = "test code: a panic is how it reports")]

use std::io::Read as _;

use claviger_client::{Library, OpenOptions};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().unwrap();
    let (profile, product, version, host) = (next(), next(), next(), next());
    let profile = std::fs::read_to_string(profile).unwrap();
    let vendor = Library::of_process().vendor(&profile).unwrap();
    let license = vendor.open(&product, OpenOptions::new()).unwrap();
    assert!(license.status().is_licensed(), "{:?}", license.status());
    let session = license.use_session();
    session.describe(&version, &host, "1.0");
    session.begin();
    session.end();
    let mut rest = Vec::new();
    let _ended = std::io::stdin().read_to_end(&mut rest);
}
