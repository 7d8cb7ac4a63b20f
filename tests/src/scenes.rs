//! What a plug-in meets on strangers' computers: surroundings for a host, each with what the plug-in must say in it.
#![expect(clippy::print_stdout, reason = "says what was left out")]

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::clap::{ACTIVATION, ClapHost, LICENSE};
use crate::tilt::Home;
use crate::{Machine, process};

/// A surrounding for a host.
pub struct Scene {
    /// What keeps the scene up. Goes before the home does: nobody can clear a folder on a disk that hangs.
    props: Vec<Box<dyn std::any::Any>>,
    /// Its name.
    pub name: &'static str,
    /// What `CLAVIGER_HOME` says.
    pub home: Home,
    /// What the status must be.
    pub status: u32,
    /// How an activation that is asked for must end; 1 for one that must not end while the scene lasts.
    pub activation: u32,
    env: Vec<(&'static str, Option<String>)>,
    /// Words before the host's own.
    pub wrapper: Vec<String>,
}

impl Scene {
    fn new(name: &'static str, home: Home, status: u32, activation: u32) -> Self {
        Self { name, home, status, activation, env: Vec::new(), wrapper: Vec::new(), props: Vec::new() }
    }

    /// Sets what a host in it is to see.
    pub fn arrange(&self, command: &mut Command) {
        // A serial number to ask with, so that an activation gets as far as the daemon.
        let text = self.home.path().join("license.txt");
        let _full = std::fs::write(&text, "EX-4XQ7K-2M9TB-0RHWE\n");
        command.env("TILT_LICENSE_FILE", text);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }
}

/// A file system in user space whose server never answers; unmounted when dropped.
struct Stalled(PathBuf, Option<std::fs::File>);

impl Stalled {
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("stalled", at, "fuse", flags, Some(options.as_c_str())).ok()?;
        Some(Self(at.to_owned(), Some(device)))
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.1 = None;
        let _gone = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A small disk without a free byte.
struct Full(PathBuf);

impl Full {
    fn mount(at: &Path) -> Self {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-t", "tmpfs", "-o", "size=256k", "none"]).arg(at).status().unwrap().success());
        Self(at.to_owned())
    }

    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        for size in [4_096, 1] {
            while file.write_all(&vec![0u8; size]).is_ok() {}
        }
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A daemon that was stopped in its tracks; let go when dropped.
struct Hung(Machine);

impl Drop for Hung {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0.daemon().pid()).unwrap();
        let _gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT);
    }
}

/// Every surrounding of the table. Those that need what this computer refuses are named and left out.
#[must_use]
pub fn scenes() -> Vec<Scene> {
    let mut scenes = vec![
        Scene::new("daemon absent", Home::licensed(), 1, 3),
        Scene::new("daemon absent, not licensed", Home::new(), 20, 3),
    ];

    let mut scene = Scene::new("daemon hung", Home::licensed(), 1, 1);
    let folder = scene.home.path().join("m");
    let mut machine = Machine::this(&folder);
    machine.home = scene.home.path().to_owned();
    std::fs::set_permissions(&machine.home, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    machine.start_daemon();
    let pid = i32::try_from(machine.daemon().pid()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    scene.props.push(Box::new(Hung(machine)));
    scenes.push(scene);

    let scene = Scene::new("dead socket", Home::licensed(), 1, 3);
    std::fs::create_dir_all(scene.home.path().join("run")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(scene.home.path().join("run/daemon.sock")).unwrap());
    scenes.push(scene);

    let scene = Scene::new("store unreadable", Home::new(), 43, 3);
    std::os::unix::fs::symlink("certs", scene.home.path().join("certs")).unwrap();
    scenes.push(scene);

    let mut scene = Scene::new("disk hangs", Home::new(), 2, 3);
    match Stalled::mount(&scene.home.path().join("stalled")) {
        Some(stalled) => {
            std::os::unix::fs::symlink("stalled", scene.home.path().join("certs")).unwrap();
            scene.props.push(Box::new(stalled));
            scenes.push(scene);
        }
        None => println!("left out: a disk that hangs (mounting FUSE needs root and /dev/fuse)"),
    }

    for (name, content, status) in [
        ("certificate empty", &b""[..], 40),
        ("certificate of noise", &[0xff; 5_000], 40),
        ("certificate of 20 MB", &[b'x'; 20_000_000], 40),
        ("certificate of another format", b"{\"licensed\":true}", 40),
    ] {
        let scene = Scene::new(name, Home::licensed(), status, 3);
        std::fs::write(scene.home.certificate(), content).unwrap();
        scenes.push(scene);
    }
    let scene = Scene::new("a pipe for a certificate", Home::licensed(), 40, 3);
    scene.home.unlicense();
    assert!(Command::new("mkfifo").arg(scene.home.certificate()).status().unwrap().success());
    scenes.push(scene);

    let mut scene = Scene::new("disk full", Home::new(), 1, 3);
    let disk = Full::mount(scene.home.path());
    scene.home.license();
    disk.fill();
    scene.props.push(Box::new(disk));
    scenes.push(scene);

    let mut scene = Scene::new("HOME unset", Home::licensed(), 1, 3);
    scene.env.extend(["HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "USER"].map(|name| (name, None)));
    scenes.push(scene);

    for locale in ["tr_TR.UTF-8", "de_DE.UTF-8", "xx_YY.no-such", "\u{fffd}"] {
        let mut scene = Scene::new("LC_ALL odd", Home::licensed(), 1, 3);
        scene.env.extend([("LC_ALL", Some(locale.to_owned())), ("LANG", Some(locale.to_owned()))]);
        scenes.push(scene);
    }

    // Flatpak-like: the machine's and the user's folders and the socket are hidden, HOME and XDG lead elsewhere.
    let mut scene = Scene::new("sandbox", Home::new(), 43, 3);
    let passwd = scene.home.path().join("passwd");
    std::fs::write(&passwd, "root:x:0:0:root:/var/home/nobody:/bin/sh\n").unwrap();
    let hide = format!(
        "mount --bind {} /etc/passwd && mount -t tmpfs none /var && mount -t tmpfs none /run && exec \"$@\"",
        passwd.display()
    );
    scene.wrapper = ["unshare", "--mount", "sh", "-c", &hide, "sh"].map(str::to_owned).to_vec();
    let elsewhere = scene.home.path().join("app").display().to_string();
    scene.env.push(("CLAVIGER_HOME", None));
    for name in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
        scene.env.push((name, Some(elsewhere.clone())));
    }
    scenes.push(scene);
    scenes
}

/// Has our CLAP host load a plug-in in a scene, open it, play, ask for an activation and close: gives the longest time that its
/// main thread was in the plug-in, in milliseconds.
///
/// # Panics
/// When the host crashes, or the plug-in does not say what is the case.
pub fn clap_host_in(scene: &Scene, host: &str, plugin: &Path) -> f64 {
    let words: Vec<&str> = scene.wrapper.iter().map(String::as_str).chain([host]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env("CLAVIGER_HOME", scene.home.path());
    scene.arrange(&mut command);
    let mut host = ClapHost::start_command(&mut command);
    let mut slowest = 0.0f64;
    let mut ask = |host: &mut ClapHost, words: &[&str]| {
        let answer = host.ask(words);
        // The test's own audio thread is waited for, not the plug-in.
        if words[0] != "process" {
            slowest = slowest.max(crate::clap::took(&answer));
        }
    };
    ask(&mut host, &["load", plugin.to_str().unwrap()]);
    ask(&mut host, &["open", "1"]);
    assert_eq!(host.get(LICENSE), scene.status, "{}", scene.name);
    ask(&mut host, &["process", "1"]);
    // An activation is asked for, and closing does not wait for it.
    ask(&mut host, &["set", "2", "1"]);
    ask(&mut host, &["process", "0.1"]);
    ask(&mut host, &["idle"]);
    if scene.activation != 1 {
        let begun = std::time::Instant::now();
        while host.get(ACTIVATION) == 1 {
            assert!(begun.elapsed() < process::PATIENCE, "{}: the activation has no end", scene.name);
            std::thread::yield_now();
        }
    }
    assert_eq!(host.get(ACTIVATION), scene.activation, "{}", scene.name);
    ask(&mut host, &["open", "3"]);
    ask(&mut host, &["close"]);
    ask(&mut host, &["unload"]);
    host.end();
    slowest
}
