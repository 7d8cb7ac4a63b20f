//! One computer of a customer: its own home, its own daemon, its own command line, and with [`Machine::second`] its own
//! `/etc/machine-id`, bound over the real one in a mount namespace. For Claviger it is another machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::platform::{self, Prefix};
use crate::process::{self, Done, Running};
use crate::programs;
use crate::varlink::Connection;
use crate::world::License;

/// A computer, or a user of one.
#[derive(Debug)]
pub struct Machine {
    /// What `CLAVIGER_HOME` says.
    pub home: PathBuf,
    programs: Option<PathBuf>,
    machine_id: Option<PathBuf>,
    user: Option<u32>,
    /// The process whose network namespace its programs run in.
    pub network_of: Option<u32>,
    /// Folders bound over others, so that programs find them at places that are fixed.
    bound: Vec<(PathBuf, PathBuf)>,
    /// Whether `CLAVIGER_HOME` is set.
    portable: bool,
    prefix: Option<Prefix>,
    /// What the computer calls itself, if not what it really does.
    pub hostname: Option<String>,
    /// Added to every command's environment.
    pub env: Vec<(String, String)>,
    /// The daemon, while it runs.
    pub daemon: Option<Running>,
}

impl Machine {
    /// The computer that the test runs on.
    #[must_use]
    pub fn this(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        // A home is private, whatever umask the test was started with.
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).unwrap();
        let home = folder.join("h");
        let prefix = platform::wine().then(Prefix::shared);
        Self {
            home,
            programs: None,
            machine_id: None,
            user: None,
            network_of: None,
            bound: Vec::new(),
            portable: true,
            prefix,
            hostname: None,
            env: Vec::new(),
            daemon: None,
        }
    }

    /// Another computer, with a random machine id.
    #[must_use]
    pub fn second(folder: &Path) -> Self {
        Self::with_id(folder, &crate::random_hex(16))
    }

    /// Another computer, with this machine id.
    #[must_use]
    pub fn with_id(folder: &Path, id: &str) -> Self {
        let mut machine = Self::this(folder);
        let file = folder.join("machine-id");
        std::fs::write(&file, format!("{id}\n")).unwrap();
        machine.machine_id = Some(file);
        if platform::wine() {
            // Wine's server opens the files: it has to be in the namespace too, so it cannot be this computer's.
            machine.prefix = Some(Prefix::copy());
        }
        machine
    }

    /// The same computer for another user, who has a home and the programs of his own.
    #[must_use]
    pub fn user(folder: &Path, user: u32) -> Self {
        let mut machine = Self::this(folder);
        let programs = folder.join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        for name in ["claviger", "clavigerd"] {
            let _copied = programs::copy_for_everyone(name, &programs);
        }
        std::fs::create_dir_all(&machine.home).unwrap();
        for path in [folder, &machine.home, &programs] {
            std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
        }
        machine.programs = Some(programs);
        machine.user = Some(user);
        machine
    }

    /// This computer with its fixed places: the user's home is one below `folder`, by a user database of its own.
    #[must_use]
    pub fn at_home(folder: &Path) -> Self {
        let mut machine = Self::this(folder);
        let (home, passwd) = (folder.join("home"), folder.join("passwd"));
        std::fs::create_dir_all(&home).unwrap();
        let user = rustix::process::getuid().as_raw();
        std::fs::write(&passwd, format!("tester:x:{user}:{user}::{}:/bin/sh\n", home.display())).unwrap();
        machine.bound.push((passwd, "/etc/passwd".into()));
        let runtime = PathBuf::from(format!("/run/user/{user}"));
        if runtime.is_dir() {
            let own = folder.join("run");
            std::fs::create_dir_all(&own).unwrap();
            machine.bound.push((own, runtime));
        }
        machine.home = home;
        machine.portable = false;
        machine
    }

    /// The same with an `/etc` of its own, a copy in which `policy` is the administrator's, and with the folder `srv` below
    /// its own as `/srv`. For computers that were made with a machine id.
    #[must_use]
    pub fn with_policy(mut self, policy: &str) -> Self {
        let folder = self.home.parent().unwrap().to_owned();
        let (etc, srv) = (folder.join("etc"), folder.join("srv"));
        if !etc.exists() {
            copy_folder(Path::new("/etc"), &etc);
        }
        std::fs::create_dir_all(&srv).unwrap();
        std::fs::create_dir_all(etc.join("claviger")).unwrap();
        std::fs::write(etc.join("claviger/policy.toml"), policy).unwrap();
        for path in [&etc, &etc.join("claviger"), &etc.join("claviger/policy.toml"), &srv] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let id = self.machine_id.take().expect("made with a machine id");
        let _bytes = std::fs::copy(id, etc.join("machine-id")).unwrap();
        self.bound.extend([(etc, "/etc".into()), (srv, "/srv".into())]);
        self
    }

    /// The same computer and user for a program of the other kind: Windows' under Wine, in a prefix of its own.
    #[must_use]
    pub fn bridged(&self) -> Self {
        Self {
            home: self.home.clone(),
            programs: None,
            machine_id: self.machine_id.clone(),
            user: self.user,
            network_of: self.network_of,
            bound: self.bound.clone(),
            portable: self.portable,
            prefix: Some(Prefix::copy()),
            hostname: self.hostname.clone(),
            env: self.env.clone(),
            daemon: None,
        }
    }

    /// The same with this computer's own programs, whatever is under test.
    #[must_use]
    pub fn native(mut self) -> Self {
        self.programs = platform::native("claviger").parent().map(Path::to_owned);
        self.prefix = None;
        self
    }

    /// The same with a prefix of its own that is always on.
    #[must_use]
    pub fn with_own_prefix(mut self) -> Self {
        let prefix = Prefix::copy();
        prefix.keep_on();
        self.prefix = Some(prefix);
        self.portable = false;
        self
    }

    /// Puts a file with this content in the place of one that this computer has; does nothing where it has none.
    pub fn replace_file(&mut self, place: &str, content: &str) {
        if !Path::new(place).is_file() {
            return;
        }
        let file = self.home.with_file_name(format!("bound-{}", self.bound.len()));
        std::fs::write(&file, content).unwrap();
        self.bound.push((file, place.into()));
    }

    /// The drive C of a Windows computer.
    #[must_use]
    pub fn drive(&self) -> PathBuf {
        self.prefix.as_ref().expect("a Windows computer").drive()
    }

    /// Switches a Windows computer of its own off, and on again with its user logged in.
    pub fn restart(&self) {
        let prefix = self.prefix.as_ref().expect("a Windows computer");
        prefix.switch_off();
        if self.bound.is_empty() {
            prefix.keep_on();
        }
        let _said = process::run(&mut self.start(Path::new("wineboot")), "").ok();
    }

    /// A command on this computer, in an environment of its own.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let path =
            self.programs.as_ref().map_or_else(|| programs::path(program), |folder| folder.join(program));
        self.start(&path)
    }

    /// The same for any program.
    #[must_use]
    pub fn start(&self, path: &Path) -> Command {
        let mut words: Vec<String> = Vec::new();
        if let Some(process) = self.network_of {
            words.extend(["nsenter".to_owned(), format!("--net=/proc/{process}/ns/net")]);
        }
        let machine_id = self.machine_id.iter().map(|file| (file.as_path(), Path::new("/etc/machine-id")));
        let bound = self.bound.iter().map(|(from, to)| (from.as_path(), to.as_path()));
        let binds: Vec<_> = machine_id.chain(bound).collect();
        if !binds.is_empty() || self.hostname.is_some() {
            words.push("unshare".to_owned());
            if !rustix::process::geteuid().is_root() {
                words.push("--map-root-user".to_owned());
            }
            words.push("--mount".to_owned());
            let bind = binds
                .iter()
                .map(|(from, to)| format!("mount --bind {} {} && ", from.display(), to.display()));
            let name = self.hostname.iter().map(|name| format!("hostname {name} && "));
            words.extend(self.hostname.iter().map(|_| "--uts".to_owned()));
            let script = bind.chain(name).collect::<String>() + "exec \"$@\"";
            words.extend(["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
        }
        if let Some(user) = self.user {
            words.extend(["setpriv", "--clear-groups"].map(str::to_owned));
            words.extend([format!("--reuid={user}"), format!("--regid={user}")]);
        }
        words.extend(if self.prefix.is_some() {
            platform::words(path)
        } else {
            vec![path.display().to_string()]
        });
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", self.home.parent().unwrap())
            .envs(self.portable.then(|| ("CLAVIGER_HOME", platform::path(&self.home))))
            .envs(self.env.iter().cloned())
            .current_dir("/");
        if let Some(prefix) = &self.prefix {
            prefix.prepare(&mut command);
        }
        command
    }

    /// `claviger …`
    #[must_use]
    pub fn claviger(&self, arguments: &[&str]) -> Done {
        self.claviger_with(arguments, "")
    }

    /// `claviger …`, with something on its standard input.
    #[must_use]
    pub fn claviger_with(&self, arguments: &[&str], input: &str) -> Done {
        process::run(self.command("claviger").args(arguments), input)
    }

    /// `claviger --json …`, which has to succeed; its value.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.claviger(&[&["--json"], arguments].concat()).ok().json()
    }

    /// Starts the daemon and waits until it is ready.
    pub fn start_daemon(&mut self) {
        let started = self.try_start_daemon(&[]);
        self.daemon =
            Some(started.unwrap_or_else(|(status, said)| panic!("the daemon ended: {status}\n{said}")));
    }

    /// Starts the daemon with more environment; gives how it ended if it is never ready.
    ///
    /// # Errors
    /// Its end, and what it said.
    pub fn try_start_daemon(
        &self,
        env: &[(&str, &str)],
    ) -> Result<Running, (std::process::ExitStatus, String)> {
        let mut command = self.command("clavigerd");
        command.envs(env.iter().copied());
        Running::start_service(&mut command, self.home.parent().unwrap())
    }

    /// Ends the daemon as a service manager does.
    pub fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("the daemon runs");
        let status = daemon.terminate();
        assert!(status.success(), "the daemon ended with {status}\n{}", daemon.output());
    }

    /// Kills the daemon.
    pub fn kill_daemon(&mut self) {
        self.daemon.take().expect("the daemon runs").kill();
    }

    /// Ends a daemon that the command line has started because it found none.
    pub fn end_stray_daemon(&self) {
        if platform::wine() {
            // Its socket and its process number mean nothing out here.
            let _stopped = self.claviger(&["daemon", "uninstall"]).ok();
            return;
        }
        let Ok(mut connection) = Connection::open(&self.socket()) else { return };
        let Ok(reply) = connection.call("GetStatus", &serde_json::json!({})) else { return };
        let pid = reply["parameters"]["status"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        let pid = rustix::process::Pid::from_raw(pid.expect("a daemon tells its process id")).unwrap();
        let end = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        process::wait_readable(&end);
    }

    /// The running daemon.
    #[must_use]
    pub fn daemon(&mut self) -> &mut Running {
        self.daemon.as_mut().expect("the daemon runs")
    }

    /// The daemon's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.join("run/daemon.sock")
    }

    /// The folder of certificates.
    #[must_use]
    pub fn certificates(&self) -> PathBuf {
        self.home.join("certs")
    }

    /// A connection to the daemon.
    #[must_use]
    pub fn connect(&self) -> Connection {
        if self.prefix.is_some() {
            let pipe = self.json(&["daemon", "status"])["socket"].as_str().unwrap().to_owned();
            return Connection::through(self.start(&programs::path("relay")).arg(pipe)).unwrap();
        }
        Connection::open(&self.socket()).unwrap()
    }

    /// `claviger vendor add`
    pub fn add_vendor(&self, profile: &Path) {
        let _said = self.claviger(&["vendor", "add", profile.to_str().unwrap()]).ok();
    }

    /// `claviger activate`, the unlock code on standard input.
    #[must_use]
    pub fn activate(&self, license: &License) -> Done {
        self.activate_with(license, &[])
    }

    /// `claviger activate` with more arguments.
    #[must_use]
    pub fn activate_with(&self, license: &License, more: &[&str]) -> Done {
        let arguments = [&["activate", &license.serial, "--unlock-code-stdin"], more].concat();
        self.claviger_with(&arguments, &format!("{}\n", license.unlock_code))
    }

    /// The status word of a product, from the files alone; the error's where there is not even a good profile.
    #[must_use]
    pub fn status_of(&self, product: &str) -> String {
        let done = self.claviger(&["--json", "check", product]);
        let answer = done.json();
        if answer["error"].is_object() {
            return done.refused().error_code();
        }
        let licensed = answer["licensed"].as_bool().unwrap_or_else(|| panic!("{done}"));
        assert_eq!(done.code == Some(0), licensed, "{done}");
        answer["status"].as_str().unwrap().to_owned()
    }

    /// Whether a new process finds the product licensed.
    #[must_use]
    pub fn is_licensed(&self, product: &str) -> bool {
        self.status_of(product).starts_with("licensed")
    }
}

/// Every file below a folder.
#[must_use]
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// Copies a folder as it is.
pub fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}
