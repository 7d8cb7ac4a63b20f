//! The demonstration plug-ins as tests build and license them: a vendor whose keys everyone can make (the seeds are below), a
//! home with or without a certificate, the SDK, both builds, and the audio that goes in and must come out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{
    ActivationCertificate, Confirmation, Contact, KeyInHeader, KeyStatus, Keyset, KeysetKey, LicenseKind,
    RootKeys, VendorProfile, sign,
};
use claviger_protocol::ids::{ActivationId, MachineId, VendorId};
use claviger_protocol::keys::SigningKey;

/// The product that both builds are.
pub const PRODUCT: &str = "com.example.tilt";
/// The LV2 build's URI.
pub const URI: &str = "https://example.com/plugins/tilt";
const LONG_AGO: Timestamp = Timestamp(1_700_000_000);

fn vendor() -> VendorId {
    "com.example".parse().unwrap()
}

/// Keys made of one repeated byte: public on purpose.
fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32])
}

/// The profile that `client-lib/examples/demo.clvprofile` holds.
#[must_use]
pub fn profile() -> String {
    let keys = vec![KeysetKey { x: key(2).public(), status: KeyStatus::Active, since: LONG_AGO }];
    let keyset = Keyset { iss: vendor(), number: 1, iat: LONG_AGO, keys };
    let profile = VendorProfile {
        iss: vendor(),
        iat: LONG_AGO,
        name: "Example Audio (keys are public)".to_owned(),
        prefix: "EX".parse().unwrap(),
        server: "https://licenses.example.com".to_owned(),
        roots: RootKeys { active: key(1).public(), spare: key(3).public() },
        keyset: sign(&keyset, &key(1), KeyInHeader::Named),
        policy: None,
        contact: Contact::default(),
        accent: None,
        logo: None,
    };
    sign(&profile, &key(1), KeyInHeader::Named)
}

/// What `CLAVIGER_HOME` says for a host under test.
#[derive(Debug)]
pub struct Home {
    folder: tempfile::TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// One in which nothing is licensed.
    #[must_use]
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("ct").tempdir().unwrap() }
    }

    /// One in which the plug-in is licensed.
    #[must_use]
    pub fn licensed() -> Self {
        let home = Self::new();
        home.license();
        home
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file of the certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        let folder = self.path().join("certs/com.example/products").join(PRODUCT);
        folder.join(certificate_name())
    }

    /// Puts a certificate for this computer where the daemon would.
    pub fn license(&self) {
        let file = self.certificate();
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, certificate(PRODUCT)).unwrap();
    }

    /// Takes the certificate away.
    pub fn unlicense(&self) {
        std::fs::remove_file(self.certificate()).unwrap();
    }
}

/// The name of a certificate's file.
#[must_use]
pub fn certificate_name() -> String {
    format!("{}.cert", ActivationId([7; 16]))
}

/// The public key behind the certificates.
#[must_use]
pub fn issuing_key() -> [u8; 32] {
    key(2).public().0
}

/// A perpetual certificate of a product for this computer.
#[must_use]
pub fn certificate(product: &str) -> String {
    let os_id = std::fs::read_to_string("/etc/machine-id").expect("this computer has a machine id");
    let certificate = ActivationCertificate {
        iss: vendor(),
        jti: ActivationId([7; 16]),
        rev: 3,
        iat: Timestamp(1),
        serial: "EX-4XQ7K-2M9TB-0RHWE".to_owned().try_into().unwrap(),
        product: product.parse().unwrap(),
        name: "Synth".to_owned(),
        opens: vec![product.parse().unwrap()],
        kind: LicenseKind::Perpetual,
        updates_until: Some("2027-01-31".parse().unwrap()),
        paid_through: None,
        exp: None,
        entitlements: vec!["pro".to_owned(), "strings".to_owned()],
        machine: MachineId::derive(&vendor(), &os_id),
        cnf: Confirmation { jkt: key(9).id().clone() },
    };
    sign(&certificate, &key(2), KeyInHeader::Named)
}

/// The repository.
#[must_use]
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where cargo builds for tests; what is made here lies in `tilt` below it.
fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap().to_owned()
}

fn made(name: &str) -> PathBuf {
    let folder = target().join("tilt");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// Runs a build, which has to succeed.
pub fn build(command: &mut Command) {
    let done = crate::process::run_within(command, "", std::time::Duration::from_secs(900));
    assert_eq!(done.code, Some(0), "{done}");
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(source()).env("CARGO_TARGET_DIR", target());
    // What the cargo that runs this test says about this package would make the other one build everything anew.
    for (name, _) in std::env::vars_os() {
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(&name);
        }
    }
    cargo
}

/// The SDK as `cargo xtask sdk --dev` makes it.
#[must_use]
pub fn sdk() -> PathBuf {
    static SDK: OnceLock<PathBuf> = OnceLock::new();
    SDK.get_or_init(|| {
        let folder = made("sdk");
        build(cargo().args(["run", "--quiet", "--package", "xtask", "--", "sdk", "--dev"]).arg(&folder));
        folder
    })
    .clone()
}

/// The folder that holds `tilt.lv2`, for `LV2_PATH`.
#[must_use]
pub fn lv2() -> PathBuf {
    static LV2: OnceLock<PathBuf> = OnceLock::new();
    LV2.get_or_init(|| {
        let folder = made("lv2-build");
        lv2_in(&folder, &[]);
        folder.join("lv2")
    })
    .clone()
}

/// Builds the LV2 plug-in in `folder` (the bundle is in `lv2` below it), with more definitions for CMake.
pub fn lv2_in(folder: &Path, definitions: &[&str]) {
    let source = source().join("client-lib/examples/lv2");
    let prefix = format!("-DCMAKE_PREFIX_PATH={}", sdk().display());
    build(Command::new("cmake").arg("-S").arg(source).arg("-B").arg(folder).arg(prefix).args(definitions));
    build(Command::new("cmake").arg("--build").arg(folder));
}

/// The CLAP plug-in's file.
#[must_use]
pub fn clap() -> PathBuf {
    static CLAP: OnceLock<PathBuf> = OnceLock::new();
    CLAP.get_or_init(|| clap_with(None, &made("Tilt.clap"))).clone()
}

/// Builds the CLAP plug-in with a vendor's profile, or the demonstration one, into `file`.
#[must_use]
pub fn clap_with(profile: Option<&Path>, file: &Path) -> PathBuf {
    // Cargo puts every build of it into one place.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut build_it = cargo();
    build_it.args(["build", "--quiet", "--package", "claviger-example-clap"]);
    build_it.env_remove("CLAVIGER_EXAMPLE_PROFILE");
    if let Some(profile) = profile {
        build_it.env("CLAVIGER_EXAMPLE_PROFILE", profile);
    }
    build(&mut build_it);
    let _absent = std::fs::remove_file(file);
    std::fs::copy(target().join("debug/libtilt.so"), file).unwrap();
    file.to_owned()
}

/// The guard that counts what an audio thread must not do, to be preloaded.
#[must_use]
pub fn guard() -> PathBuf {
    static GUARD: OnceLock<PathBuf> = OnceLock::new();
    GUARD.get_or_init(|| native("guard", &["-shared", "-fPIC", "-ldl"])).clone()
}

/// Builds `tests/native/NAME.c`; what is behind a dot in the name is that of the file that is built.
#[must_use]
pub fn native(name: &str, options: &[&str]) -> PathBuf {
    let file = made(name);
    let stem = name.split('.').next().unwrap();
    let source = source().join("tests/native").join(format!("{stem}.c"));
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&file).arg(source).args(options);
    build(&mut cc);
    file
}

/// What goes into a host: noise that can be made anew anywhere, in two channels that differ.
#[must_use]
pub fn input(sample: u64, channel: u32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    let n = (sample as u32).wrapping_mul(2_654_435_761).wrapping_add(channel.wrapping_mul(40_503));
    let n = (n ^ (n >> 15)).wrapping_mul(2_246_822_519);
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit")]
    let value = (n >> 8) as f32 / 16_777_216.0;
    value - 0.5
}

/// What an unlicensed copy does to a sample: docs of the plug-ins' `demo.rs`, said once more on its own.
#[must_use]
pub fn demo_factor(sample: u64, rate: u64) -> f32 {
    let at = sample % (60 * rate);
    let (begin, fade) = (60 * rate - 3 * (rate / 2), rate / 2);
    if at < begin {
        return 1.0;
    }
    let since = at - begin;
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let part = |n: u64| n as f64 / fade as f64;
    let level = match since {
        _ if since < fade => part(since + 1),
        _ if since < 2 * fade => 1.0,
        _ => 1.0 - part(since - 2 * fade + 1).min(1.0),
    };
    #[expect(clippy::cast_possible_truncation, reason = "samples are 32-bit")]
    let factor = (0.5 + 0.5 * (std::f64::consts::PI * level).cos()) as f32;
    factor
}

/// Reads interleaved stereo samples of 32 bits.
#[must_use]
pub fn samples(file: &Path) -> Vec<[f32; 2]> {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let value = |at: &[u8]| f32::from_le_bytes(at.try_into().unwrap());
    bytes.chunks_exact(8).map(|frame| [value(&frame[..4]), value(&frame[4..])]).collect()
}

/// Compares an unlicensed copy's output with a licensed one's, sample by sample, from `start` on in its minute.
///
/// # Panics
/// Naming the first sample that is not what it must be.
pub fn assert_demo_of(unlicensed: &[[f32; 2]], licensed: &[[f32; 2]], start: u64, rate: u64) {
    assert_eq!(unlicensed.len(), licensed.len());
    for (at, (unlicensed, licensed)) in unlicensed.iter().zip(licensed).enumerate() {
        let factor = demo_factor(start + at as u64, rate);
        for channel in 0..2 {
            let wanted = licensed[channel] * factor;
            assert!(
                unlicensed[channel] == wanted,
                "sample {at}, channel {channel}: {} instead of {wanted}",
                unlicensed[channel]
            );
        }
    }
}

/// Compares two outputs bit by bit.
///
/// # Panics
/// Naming the first sample that differs.
pub fn assert_same(one: &[[f32; 2]], other: &[[f32; 2]]) {
    assert_eq!(one.len(), other.len());
    let differs = one.iter().zip(other).position(|(a, b)| a.map(f32::to_bits) != b.map(f32::to_bits));
    assert_eq!(differs, None, "the first sample that differs");
}

/// In which sample of its minute an unlicensed copy was when a recording began: the rest in it tells. 48,000 a second.
///
/// # Panics
/// When there is none: the recording must be longer than a minute.
#[must_use]
pub fn phase(recording: &[[f32; 2]]) -> u64 {
    let silent = |frame: &[f32; 2]| *frame == [0.0, 0.0];
    let begin = (0..recording.len().saturating_sub(24_000))
        .find(|at| silent(&recording[*at]) && recording[*at..*at + 24_000].iter().all(silent))
        .expect("there is half a second of rest in it");
    // The last sample of the fade is silent already.
    (59 * 48_000 - 1 + 60 * 48_000 - begin as u64) % (60 * 48_000)
}

/// Compares a recording with what went in, from `first` on, through a plug-in whose knobs are at rest: unlicensed if it is told
/// in which sample of the minute the recording begins. A filter that is not turned changes no more than the last bits.
///
/// # Panics
/// Naming the first sample that is not what it must be.
pub fn assert_heard(recording: &[[f32; 2]], first: u64, unlicensed: Option<u64>) {
    for (at, frame) in recording.iter().enumerate() {
        let factor = unlicensed.map_or(1.0, |start| demo_factor(start + at as u64, 48_000));
        for (channel, value) in (0u32..).zip(frame) {
            let wanted = input(first + at as u64, channel) * factor;
            assert!(
                (value - wanted).abs() < 1e-5,
                "sample {at}, channel {channel}: {value} instead of {wanted}"
            );
        }
    }
}

/// The system calls of an audio thread that stand between pairs of marks (`getppid`), and how many marks there are, by what
/// `strace -f -o` wrote.
#[must_use]
pub fn calls_between_marks(log: &str) -> (usize, Vec<String>) {
    let lines: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(thread, call)| (thread, call.trim_start()))
        .collect();
    let Some((thread, _)) = lines.iter().find(|(_, call)| call.starts_with("getppid(")) else {
        return (0, Vec::new());
    };
    let (mut marks, mut calls) = (0, Vec::new());
    for (_, call) in lines.iter().filter(|(id, _)| id == thread) {
        // A call that another thread's came in between of is written twice: as it begins, and as it is "resumed".
        if call.starts_with("getppid(") {
            marks += 1;
        } else if marks % 2 == 1 && !call.contains("getppid resumed") {
            calls.push((*call).to_owned());
        }
    }
    (marks, calls)
}

#[cfg(test)]
mod tests {
    use super::calls_between_marks;

    #[test]
    fn a_mark_that_is_interrupted_is_one_mark() {
        let log = "7 read(0, \"\", 1) = 0\n8 getppid( <unfinished ...>\n7 futex(0x1, FUTEX_WAIT <unfinished ...>\n\
                   8 <... getppid resumed>) = 1\n8 getppid() = 1\n8 write(1, \"x\", 1) = 1\n8 getppid() = 1\n\
                   8 madvise(0x1) = 0\n8 getppid() = 1\n7 <... futex resumed>) = 0\n";
        assert_eq!(calls_between_marks(log), (4, vec!["madvise(0x1) = 0".to_owned()]));
    }
}
