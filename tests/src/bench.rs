//! What the bench programs share: a row of the table that `cargo xtask bench` prints, and a release server to measure.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claviger_protocol::serial::Serial;
use claviger_protocol::unlock::UnlockCode;
use serde_json::json;

/// The vendor of [`Server`].
pub const VENDOR: &str = "com.example";

/// One figure beside its floor and its goal.
#[derive(Debug)]
pub struct Row<'a> {
    /// What was measured.
    pub what: &'a str,
    /// How much it was.
    pub figure: f64,
    /// In what unit.
    pub unit: &'a str,
    /// The same of what it cannot do without, measured in the same run; 0 for none.
    pub floor: f64,
    /// What that is.
    pub floor_what: &'a str,
    /// What is asked for.
    pub goal: &'a str,
    /// Whether it is reached.
    pub met: bool,
    /// What others do (BASELINES.md).
    pub baseline: &'a str,
}

impl Row<'_> {
    /// Prints it as a line of JSON.
    #[expect(clippy::print_stdout, reason = "its lines are a bench program's result")]
    pub fn print(&self) {
        let cut = |n: f64| (n * 1000.0).round() / 1000.0;
        let ratio = if self.floor > 0.0 { cut(self.figure / self.floor) } else { 0.0 };
        println!(
            "{}",
            json!({
                "what": self.what, "figure": cut(self.figure), "unit": self.unit, "floor": cut(self.floor),
                "floor_what": self.floor_what, "ratio": ratio, "goal": self.goal, "met": self.met,
                "baseline": self.baseline,
            })
        );
    }
}

/// The middle one; not a number where there is none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.into_iter().collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The folder in which databases are made: on the disk of the build, not in memory.
#[must_use]
pub fn home() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// A vendor's server process with licenses in its database.
#[derive(Debug)]
pub struct Server {
    process: Child,
    folder: tempfile::TempDir,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    fn run(data: &Path, args: &[&str]) {
        let done = Command::new(crate::programs::path("claviger-server"))
            .args(args)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Starts one that machines reach at `url`, and gives the serial numbers and codes of `licenses` licenses with one
    /// seat.
    #[must_use]
    pub fn start(licenses: usize, url: &str) -> (Self, Vec<(Serial, UnlockCode)>) {
        let folder = tempfile::tempdir_in(home()).unwrap();
        let data = folder.path().join("data");
        let passphrase = folder.path().join("passphrase");
        std::fs::write(&passphrase, "bench").unwrap();
        Self::run(
            &data,
            &[
                "init",
                "--vendor",
                VENDOR,
                "--name",
                "Bench Audio",
                "--prefix",
                "BEN",
                "--server-url",
                url,
                "--demo",
                "--passphrase-file",
                passphrase.to_str().unwrap(),
            ],
        );
        Self::run(&data, &["product", "add", "com.example.synth", "--name", "Bench Synth"]);
        let csv = folder.path().join("licenses.csv");
        let count = licenses.to_string();
        Self::run(
            &data,
            &[
                "license",
                "issue",
                "--product",
                "com.example.synth",
                "--kind",
                "perpetual",
                "--seats",
                "1",
                "--count",
                &count,
                "--csv",
                csv.to_str().unwrap(),
            ],
        );
        let address_file = folder.path().join("address");
        let process = Command::new(crate::programs::path("claviger-server"))
            .args(["serve", "--demo", "--listen", "127.0.0.1:0", "--address-file"])
            .arg(&address_file)
            .arg("--data")
            .arg(&data)
            .env("CLAVIGER_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let address = wait_for_address(&address_file);
        (Self { process, folder, address }, read_csv(&csv))
    }

    /// The most memory that it had resident so far, in MiB.
    #[must_use]
    pub fn peak_memory_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// The vendor profile.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.folder.path().join("data/vendor.clvprofile")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _status = self.process.wait();
        let _keep_until_now = &self.folder;
    }
}

fn wait_for_address(file: &Path) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(address) = std::fs::read_to_string(file).ok().and_then(|t| t.trim().parse().ok())
            && std::net::TcpStream::connect(address).is_ok()
        {
            return address;
        }
        assert!(Instant::now() < deadline, "the server did not come up");
        std::thread::yield_now();
    }
}

fn read_csv(file: &Path) -> Vec<(Serial, UnlockCode)> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| names.iter().position(|n| *n == name).unwrap();
    let (serial, code) = (column("serial"), column("unlock_code"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let serial = Serial::try_from(fields[serial].to_owned()).unwrap();
            let code = UnlockCode::parse(fields[code], &serial).unwrap();
            (serial, code)
        })
        .collect()
}
