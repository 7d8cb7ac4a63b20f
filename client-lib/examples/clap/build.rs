//! Puts the vendor's profile where the source includes it: the demonstration one, or the file that
//! `CLAVIGER_EXAMPLE_PROFILE` names. A real plug-in has its own profile in its source tree and needs no build script.

use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CLAVIGER_EXAMPLE_PROFILE");
    let profile = match std::env::var_os("CLAVIGER_EXAMPLE_PROFILE") {
        Some(file) => PathBuf::from(file),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../demo.clvprofile"),
    };
    println!("cargo::rerun-if-changed={}", profile.display());
    let text = std::fs::read_to_string(&profile)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", profile.display()));
    let out =
        PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("vendor.clvprofile");
    std::fs::write(&out, text).unwrap_or_else(|error| panic!("{}: {error}", out.display()));
}
