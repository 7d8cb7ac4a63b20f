//! What a plug-in meets on strangers' computers, in our CLAP host and in jalv: whatever it is, the host neither crashes nor hangs,
//! audio comes out, and the status says what is the case. Each line of the tables prints how long the host's main thread was in
//! the plug-in.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "test code: a panic is how it reports, and figures are printed"
)]

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger_tests::clap::{ACTIVATION, ClapHost, LICENSE};
use claviger_tests::jalv::Jack;
use claviger_tests::tilt::{self, Home};
use claviger_tests::{Machine, process};
use rustix::process::{Pid, Signal, kill_process};

const HOST: &str = env!("CARGO_BIN_EXE_clap_host");
/// Longer than this is a hang. The figures that are printed are far below; machines that run tests can be busy.
const HANG_MS: f64 = 2_000.0;

/// A surrounding for a host.
struct Scene {
    /// What keeps the scene up. Goes before the home does: nobody can clear a folder on a disk that hangs.
    props: Vec<Box<dyn std::any::Any>>,
    name: &'static str,
    home: Home,
    /// What the status must be.
    status: u32,
    /// How an activation that is asked for must end; 1 for one that must not end while the scene lasts.
    activation: u32,
    env: Vec<(&'static str, Option<String>)>,
    /// Words before the host's own.
    wrapper: Vec<String>,
}

impl Scene {
    fn new(name: &'static str, home: Home, status: u32, activation: u32) -> Self {
        Self { name, home, status, activation, env: Vec::new(), wrapper: Vec::new(), props: Vec::new() }
    }

    fn arrange(&self, command: &mut Command) {
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
fn scenes() -> Vec<Scene> {
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

fn took(answer: &serde_json::Value) -> f64 {
    answer["took_ms"].as_f64().unwrap()
}

#[test]
fn clap_host_survives_every_surrounding() {
    for scene in scenes() {
        let words: Vec<&str> = scene.wrapper.iter().map(String::as_str).chain([HOST]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("CLAVIGER_HOME", scene.home.path());
        scene.arrange(&mut command);
        let mut host = ClapHost::start_command(&mut command);
        let mut slowest = 0.0f64;
        let mut ask = |host: &mut ClapHost, words: &[&str]| {
            let answer = host.ask(words);
            slowest = slowest.max(took(&answer));
            answer
        };
        let plugin = tilt::clap();
        let _loaded = ask(&mut host, &["load", plugin.to_str().unwrap()]);
        let _opened = ask(&mut host, &["open", "1"]);
        assert_eq!(host.get(LICENSE), scene.status, "{}", scene.name);
        let _played = ask(&mut host, &["process", "1"]);
        // An activation is asked for, and closing does not wait for it.
        let _set = ask(&mut host, &["set", "2", "1"]);
        let _played = ask(&mut host, &["process", "0.1"]);
        let _asked = ask(&mut host, &["idle"]);
        if scene.activation != 1 {
            let begun = std::time::Instant::now();
            while host.get(ACTIVATION) == 1 {
                assert!(begun.elapsed() < process::PATIENCE, "{}: the activation has no end", scene.name);
                std::thread::yield_now();
            }
        }
        assert_eq!(host.get(ACTIVATION), scene.activation, "{}", scene.name);
        let _more = ask(&mut host, &["open", "3"]);
        let _closed = ask(&mut host, &["close"]);
        let _unloaded = ask(&mut host, &["unload"]);
        println!("{:32} {slowest:9.3} ms at most", scene.name);
        assert!(slowest < HANG_MS, "{}: {slowest} ms on the main thread", scene.name);
        host.end();
    }
}

#[test]
fn jalv_survives_every_surrounding() {
    let (jack, heard) = (Jack::start(), Home::new());
    for scene in scenes() {
        let words: Vec<&str> = scene.wrapper.iter().map(String::as_str).collect();
        // JACK's own sockets are below /dev/shm, which the sandbox leaves.
        let mut command = jack.jalv_command(scene.home.path(), &words);
        scene.arrange(&mut command);
        let mut jalv = jack.jalv_as(&mut command);
        let _heard = jalv.player().play(0, 1, &heard.path().join("heard"));
        assert_eq!(jalv.wait_until("license", &[scene.status]), scene.status, "{}", scene.name);
        jalv.host.say("activate = 1.0");
        assert_eq!(jalv.wait_until("activation", &[scene.activation]), scene.activation, "{}", scene.name);
        println!("{:32} started in {:?}", scene.name, jalv.started_in);
        jalv.host.end();
    }
    jack.end();
}

#[test]
fn files_that_the_kernel_denies_leave_a_reason() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
    let _denied = host.ask(&["deny"]);
    let opened = host.ask(&["open", "2"]);
    assert!(took(&opened) < HANG_MS);
    assert_eq!(host.get(LICENSE), 43);
    let _played = host.ask(&["process", "1"]);
    let _set = host.ask(&["set", "2", "1"]);
    let _played = host.ask(&["process", "0.1"]);
    let _asked = host.ask(&["idle"]);
    assert_eq!(host.get(ACTIVATION), 3);
    let _closed = host.ask(&["close"]);
}

#[test]
fn sixty_four_instances_agree_and_start_no_thread() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
    let before = host.ask(&["facts"]);
    let opened = host.ask(&["open", "64"]);
    println!("64 instances opened in {:.3} ms", took(&opened));
    let after = host.ask(&["facts"]);
    assert_eq!((&before["threads"], &before["files"]), (&after["threads"], &after["files"]));
    let _played = host.ask(&["process", "0.5"]);
    let values = host.ask(&["get", LICENSE]);
    assert_eq!(values["values"].as_array().unwrap().len(), 64);
    assert!(values["values"].as_array().unwrap().iter().all(|value| *value == 1.0));
    host.end();
}

/// Two copies, of two builds, each with a vendor of its own, side by side: neither sees the other.
#[test]
fn two_builds_live_in_one_process() {
    let home = Home::licensed();
    let other = claviger_tests::vendor::Vendor::new("com.example", "EX");
    let profile = home.path().join("other.clvprofile");
    std::fs::write(&profile, other.profile("https://licenses.example.com")).unwrap();
    let second = tilt::clap_with(Some(&profile), &home.path().join("Second.clap"));
    let mut host = ClapHost::start(HOST, home.path());
    let _opened = host.open(&tilt::clap(), 2);
    assert_eq!(host.get(LICENSE), 1);
    assert_eq!(host.ask(&["also", second.to_str().unwrap()])["value"], 41.0);
    let _played = host.ask(&["process", "0.5"]);
    assert_eq!(host.get(LICENSE), 1);
    let third = home.path().join("Third.clap");
    std::fs::copy(tilt::clap(), &third).unwrap();
    assert_eq!(host.ask(&["also", third.to_str().unwrap()])["value"], 1.0);
    let _unloaded = host.ask(&["unload"]);
    host.end();
}

#[test]
fn a_thousand_loads_leave_nothing() {
    const LEAK_KIB: i64 = 1024;
    let home = Home::licensed();
    let plugin = tilt::clap();
    let plugin = plugin.to_str().unwrap();
    let mut host = ClapHost::start(HOST, home.path());
    let _warm = host.ask(&["cycle", plugin, "100"]);
    let before = host.ask(&["facts"]);
    let done = host.ask(&["cycle", plugin, "900"]);
    let after = host.ask(&["facts"]);
    assert_eq!(done["mapped"], false, "the CLAP file is still mapped");
    assert_eq!((&before["threads"], &before["files"]), (&after["threads"], &after["files"]));
    let grown = after["kib"].as_i64().unwrap() - before["kib"].as_i64().unwrap();
    println!("CLAP: slowest load and open {} ms, memory {grown:+} KiB", done["slowest_ms"]);
    assert!(grown < LEAK_KIB, "{grown} KiB more");
    host.end();

    let cycle = tilt::native("lv2_cycle", &["-ldl"]);
    for home in [home, Home::new()] {
        let mut command = Command::new(&cycle);
        command.arg(tilt::lv2().join("tilt.lv2/tilt.so")).arg("1000").env("CLAVIGER_HOME", home.path());
        let done = process::run(&mut command, "").ok().json();
        println!("LV2: {done}");
        assert_eq!((&done["threads"], &done["files"]), (&0.into(), &0.into()));
        assert_eq!(done["mapped"], false, "the LV2 file is still mapped");
        assert!(done["kib"].as_i64().unwrap() < LEAK_KIB);
    }
}

#[test]
fn forked_and_replaced_processes_are_well() {
    let home = Home::licensed();
    let mut host = ClapHost::start(HOST, home.path());
    let before = host.ask(&["exec"])["files"].clone();
    let _opened = host.open(&tilt::clap(), 2);
    let forked = host.ask(&["fork"]);
    assert_eq!((&forked["child"], &forked["ended"]), (&1.into(), &true.into()), "{forked}");
    assert_eq!(host.ask(&["exec"])["files"], before, "a file of ours is open in another program");
    let _played = host.ask(&["process", "0.5"]);
    assert_eq!(host.get(LICENSE), 1);
    host.end();
}

#[test]
fn a_stack_of_64_kib_is_enough() {
    for (home, status) in [(Home::licensed(), 1.0), (Home::new(), 20.0)] {
        let mut host = ClapHost::start(HOST, home.path());
        let _loaded = host.ask(&["load", tilt::clap().to_str().unwrap()]);
        assert_eq!(host.ask(&["stack", "64"])["value"], status);
        host.end();
    }
}
