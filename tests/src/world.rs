//! One vendor with its activation server behind a [`Proxy`], and the machines of its customers, all in one temporary
//! folder that goes when the test is over.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{TrustAnchor, VendorProfile};
use claviger_protocol::ids::VendorId;
use serde_json::Value;
use tempfile::TempDir;

use crate::held::HeldClock;
use crate::http::Client;
use crate::machine::Machine;
use crate::platform;
use crate::process::{self, Done, Running};
use crate::programs;
use crate::proxy::Proxy;
use crate::tls::{Authority, Flaw};

/// The product that [`World::new`] puts into the catalogue.
pub const PRODUCT: &str = "com.example.synth";
/// Its name.
pub const PRODUCT_NAME: &str = "Solstice";

/// What a customer gets.
#[derive(Debug, Clone)]
pub struct License {
    /// The serial number.
    pub serial: String,
    /// The unlock code.
    pub unlock_code: String,
}

/// In what a world differs from others.
#[derive(Debug, Default)]
pub struct Setting {
    /// The moment at which it begins, by a clock that the test holds.
    pub begin: Option<Timestamp>,
    /// Its server is reached over TLS, under a certificate of this authority.
    pub tls: Option<Authority>,
    /// Where the server listens; otherwise on a port of loopback.
    pub listen: Option<&'static str>,
}

/// A vendor, its server, its customers.
#[derive(Debug)]
pub struct World {
    folder: TempDir,
    data: PathBuf,
    /// Stands at the address that the vendor profile names.
    pub proxy: Proxy,
    /// The vendor's id.
    pub vendor: VendorId,
    server: Option<Running>,
    address: Option<SocketAddr>,
    machines: std::cell::Cell<u32>,
    listen: &'static str,
    clock: Option<HeldClock>,
    /// What all its programs are started with.
    env: Vec<(String, String)>,
}

impl World {
    /// A vendor with one product and a running server.
    #[must_use]
    pub fn new() -> Self {
        let mut world = Self::without_server();
        world.start_server();
        world
    }

    /// The same before its server is started for the first time.
    #[must_use]
    pub fn without_server() -> Self {
        Self::begin(&Setting::default())
    }

    /// A world in this setting, before its server is started for the first time.
    #[must_use]
    pub fn begin(setting: &Setting) -> Self {
        let folder = tempfile::Builder::new().prefix("cv").tempdir().unwrap();
        // Other users of a test reach their own folders in it.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let proxy = Proxy::start(setting.tls.as_ref().map(|authority| authority.server(Flaw::None)));
        let mut env = Vec::new();
        let clock = setting.begin.map(|at| HeldClock::at(folder.path(), at));
        env.extend(clock.as_ref().map(HeldClock::env));
        if let Some(authority) = &setting.tls {
            let file = folder.path().join("ca.pem");
            std::fs::write(&file, &authority.pem).unwrap();
            env.push(("SSL_CERT_FILE".to_owned(), file.display().to_string()));
        }
        let world = Self {
            data: folder.path().join("server"),
            folder,
            proxy,
            vendor: "com.example".parse().unwrap(),
            server: None,
            address: None,
            machines: std::cell::Cell::new(0),
            listen: setting.listen.unwrap_or("127.0.0.1:0"),
            clock,
            env,
        };
        let url = match setting.tls {
            Some(_) => format!("https://localhost:{}", world.proxy.address.port()),
            None => format!("http://{}", world.proxy.address),
        };
        let arguments = [
            "init",
            "--vendor",
            "com.example",
            "--name",
            "Example Audio",
            "--prefix",
            "SOL",
            "--server-url",
            &url,
            "--demo",
        ];
        let _said = world.server(&arguments).ok();
        let _said = world.server(&["product", "add", PRODUCT, "--name", PRODUCT_NAME]).ok();
        world
    }

    /// A path in the world's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's data folder.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Moves the data folder, while no server runs on it.
    pub fn move_data(&mut self, to: &Path) {
        crate::machine::copy_folder(&self.data, to);
        std::fs::remove_dir_all(&self.data).unwrap();
        self.data = to.to_owned();
    }

    /// The clock that this world was begun with.
    #[must_use]
    pub fn clock(&self) -> &HeldClock {
        self.clock.as_ref().expect("the world was begun at a moment of the test's")
    }

    /// The vendor profile.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.data.join("vendor.clvprofile")
    }

    /// What a plug-in with the profile compiled in believes, and its first keyset.
    #[must_use]
    pub fn anchor(&self) -> (TrustAnchor, String) {
        let text = std::fs::read_to_string(self.profile()).unwrap();
        let (profile, keyset) = VendorProfile::verify(&text).unwrap();
        (profile.anchor(keyset.number), profile.keyset)
    }

    fn server_command(&self) -> Command {
        let mut command = platform::command(&programs::path("claviger-server"));
        command.env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8").current_dir(self.folder.path());
        command.envs(self.env.iter().cloned());
        command
    }

    /// `claviger-server …`
    #[must_use]
    pub fn server(&self, arguments: &[&str]) -> Done {
        self.server_with(arguments, "")
    }

    /// `claviger-server …`, with something on its standard input.
    #[must_use]
    pub fn server_with(&self, arguments: &[&str], input: &str) -> Done {
        process::run(self.server_command().args(arguments).arg("--data").arg(&self.data), input)
    }

    /// `claviger-server --json …`, which has to succeed; its value.
    #[must_use]
    pub fn server_json(&self, arguments: &[&str]) -> Value {
        self.server(&[&["--json"], arguments].concat()).ok().json()
    }

    /// Starts the server and waits until it listens.
    pub fn start_server(&mut self) {
        self.start_server_with(&[]);
    }

    /// The same with more environment.
    pub fn start_server_with(&mut self, env: &[(&str, &str)]) {
        let mut command = self.server_command();
        command.envs(env.iter().copied()).args([
            "--json",
            "serve",
            "--demo",
            "--listen",
            self.listen,
            "--data",
        ]);
        let started = Running::start_until(command.arg(&self.data), "\"listening\"");
        let (running, line) = started.unwrap_or_else(|(s, said)| panic!("the server ended: {s}\n{said}"));
        let told: Value = serde_json::from_str(&line).unwrap();
        let address: SocketAddr = told["listening"].as_str().unwrap().parse().unwrap();
        self.proxy.set_upstream(Some(address));
        self.server = Some(running);
        self.address = Some(address);
    }

    /// Where the server itself listens, behind the proxy.
    #[must_use]
    pub fn server_address(&self) -> SocketAddr {
        self.address.expect("the server was started")
    }

    /// A connection to the server itself.
    #[must_use]
    pub fn http(&self) -> Client {
        Client::connect(self.server_address())
    }

    /// The running server.
    #[must_use]
    pub fn running_server(&mut self) -> &mut Running {
        self.server.as_mut().expect("the server runs")
    }

    /// The server's process.
    #[must_use]
    pub fn server_pid(&self) -> u32 {
        self.server.as_ref().expect("the server runs").pid()
    }

    /// What the running server has logged.
    #[must_use]
    pub fn server_output(&self) -> String {
        self.server.as_ref().expect("the server runs").output()
    }

    /// Ends the server as a service manager does.
    pub fn stop_server(&mut self) {
        self.proxy.set_upstream(None);
        let mut server = self.server.take().expect("the server runs");
        let status = server.terminate();
        assert!(status.success(), "the server ended with {status}\n{}", server.output());
    }

    /// Kills the server.
    pub fn kill_server(&mut self) {
        self.proxy.set_upstream(None);
        self.server.take().expect("the server runs").kill();
    }

    /// Takes the server's process out, to kill it from another thread.
    #[must_use]
    pub fn take_server(&mut self) -> Running {
        self.server.take().expect("the server runs")
    }

    /// Issues a license.
    #[must_use]
    pub fn issue(&self, seats: u32) -> License {
        self.issue_with(&["--seats", &seats.to_string()])
    }

    /// Issues a license with these terms.
    #[must_use]
    pub fn issue_with(&self, terms: &[&str]) -> License {
        license_of(&self.server_json(&[&["license", "issue", "--product", PRODUCT], terms].concat()))
    }

    /// Issues many licenses at once.
    #[must_use]
    pub fn issue_batch(&self, count: u32, seats: u32) -> Vec<License> {
        let (count, seats) = (count.to_string(), seats.to_string());
        let terms =
            ["--json", "license", "issue", "--product", PRODUCT, "--count", &count, "--seats", &seats];
        self.server(&terms).ok().json_lines().iter().map(license_of).collect()
    }

    /// Puts another product into the catalogue.
    pub fn add_product(&self, id: &str, name: &str) {
        let _said = self.server(&["product", "add", id, "--name", name]).ok();
    }

    /// Backs the server up.
    pub fn backup(&self, to: &Path) {
        let _said = self.server(&["backup", to.to_str().unwrap()]).ok();
    }

    /// Puts a backup in the place of what the server has.
    pub fn restore(&mut self, from: &Path) {
        self.data = self.path(&format!("server-{}", crate::random_hex(4)));
        let _said = self.server(&["restore", from.to_str().unwrap()]).ok();
    }

    /// The server's view of a license.
    #[must_use]
    pub fn show(&self, license: &License) -> Value {
        self.server_json(&["license", "show", &license.serial])
    }

    /// How many seats of a license are taken.
    #[must_use]
    pub fn seats_taken(&self, license: &License) -> usize {
        let shown = self.show(license);
        let used = shown["seats_used"].as_u64().unwrap_or_else(|| panic!("no seats_used in {shown}"));
        usize::try_from(used).unwrap()
    }

    /// The activations that hold a seat of a license.
    #[must_use]
    pub fn activations(&self, license: &License) -> Vec<Value> {
        self.server(&["--json", "activation", "list", &license.serial]).ok().json_lines()
    }

    fn next_folder(&self) -> PathBuf {
        self.machines.set(self.machines.get() + 1);
        self.path(&format!("m{}", self.machines.get()))
    }

    /// A home on the computer that the test runs on, with the daemon running and the vendor known.
    #[must_use]
    pub fn this_machine(&self) -> Machine {
        self.ready(Machine::this(&self.next_folder()))
    }

    /// Another computer, with the daemon running, the vendor known and a name.
    #[must_use]
    pub fn machine(&self, name: &str) -> Machine {
        let machine = self.ready(Machine::second(&self.next_folder()));
        let _said = machine.claviger(&["machine", "rename", name]).ok();
        machine
    }

    /// A home for a computer that is yet to be set up.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.next_folder()
    }

    /// Starts the daemon and makes the vendor known.
    #[must_use]
    pub fn ready(&self, mut machine: Machine) -> Machine {
        machine.env.extend(self.env.iter().cloned());
        machine.start_daemon();
        machine.add_vendor(&self.profile());
        machine
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// Serial number and unlock code out of what `license issue` printed.
#[must_use]
pub fn license_of(issued: &Value) -> License {
    let text =
        |name: &str| issued[name].as_str().unwrap_or_else(|| panic!("no {name} in {issued}")).to_owned();
    License { serial: text("serial"), unlock_code: text("unlock_code") }
}

/// Reads a file of the test's own.
#[must_use]
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
