//! The daemon as a resident: start to first answer, memory before and after network use, wake-ups while idle.
//!
//! `bench_daemon [--idle SECONDS] [--clavigerd PATH]`; prints JSON lines. The floors are measured in the same run: a
//! process that does nothing (`true`), and this very program as a bare tokio runtime with a Unix socket. The activation
//! goes over TLS to a release server, with the system's authorities and one more trusted, as on a customer's machine.
#![expect(clippy::unwrap_used, reason = "a bench program that cannot measure ends with the reason")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use claviger_tests::bench::{self, Row, Server, median};
use claviger_tests::proxy::Proxy;
use claviger_tests::tls::{Authority, Flaw};
use serde_json::{Value, json};

const RUNS: usize = 21;
/// Where Linux distributions keep the authorities that a machine trusts.
const SYSTEM_AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

fn main() {
    let mut idle = 60;
    let mut program = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--idle" => idle = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(idle),
            "--clavigerd" => program = arguments.next().map(PathBuf::from),
            "bare" => return bare(Path::new(&arguments.next().unwrap())),
            _ => {}
        }
    }
    let program = program.unwrap_or_else(|| bench::home().join("clavigerd"));
    let home = tempfile::tempdir().unwrap();
    let authorities = home.path().join("authorities.pem");
    let authority = Authority::new();
    let system = SYSTEM_AUTHORITIES.iter().find_map(|file| std::fs::read_to_string(file).ok());
    std::fs::write(&authorities, system.unwrap_or_default() + &authority.pem).unwrap();
    let bare = Floor::measure(home.path());
    starting(&program, home.path(), &authorities, &bare);

    let mut daemon = spawn(&program, home.path(), &authorities);
    let mut client = connect(&socket(home.path()));
    call(&mut client, "GetStatus", &json!({}));
    let resident = status(&daemon, "VmRSS:");
    Row {
        what: "daemon: resident before any network use",
        figure: mib(resident),
        unit: "MiB",
        floor: mib(bare.resident),
        floor_what: "bare tokio and a Unix socket",
        goal: "≤ 6 MiB",
        met: resident <= 6 * 1024,
        baseline: "keygen-relay 13.3 MB",
    }
    .print();

    let front = Proxy::start(Some(authority.server(Flaw::None)));
    let (server, licenses) = Server::start(1, &format!("https://localhost:{}", front.address.port()));
    front.set_upstream(Some(server.address));
    let profile = std::fs::read_to_string(server.profile()).unwrap();
    good(&call(&mut client, "AddVendor", &json!({"profile": profile})));
    let (serial, code) = &licenses[0];
    let began = Instant::now();
    good(&call(&mut client, "Activate", &json!({"serial": serial, "unlock_code": code.reveal()})));
    Row {
        what: "daemon: one activation over TLS, server and first connection included",
        figure: began.elapsed().as_secs_f64() * 1000.0,
        unit: "ms",
        floor: 0.0,
        floor_what: "",
        goal: "none",
        met: true,
        baseline: "",
    }
    .print();
    drop(client);
    resting(&daemon, idle, &bare);
    end(&mut daemon);
}

/// From the start of a process to its first answer.
fn starting(program: &Path, home: &Path, authorities: &Path, bare: &Floor) {
    let start = median((0..RUNS).map(|_| {
        let began = Instant::now();
        let mut daemon = spawn(program, home, authorities);
        let mut client = connect(&socket(home));
        call(&mut client, "GetStatus", &json!({}));
        let took = began.elapsed().as_secs_f64() * 1000.0;
        end(&mut daemon);
        took
    }));
    Row {
        what: "daemon: start to first answer",
        figure: start,
        unit: "ms",
        floor: bare.start,
        floor_what: "bare tokio and a Unix socket",
        goal: "≤ 5 ms",
        met: start <= 5.0,
        baseline: "keygen-relay 4.9 ms",
    }
    .print();
}

/// What a daemon keeps, and how often it wakes, when nobody asks it anything after an activation.
fn resting(daemon: &Child, idle: u64, bare: &Floor) {
    wait(Duration::from_secs(2));
    let before = wake_ups(daemon);
    wait(Duration::from_secs(idle));
    let woken = wake_ups(daemon) - before;
    let private = private(daemon);
    Row {
        what: &format!("daemon: private memory {idle} s after an activation"),
        figure: mib(private),
        unit: "MiB",
        floor: mib(bare.private),
        floor_what: "bare tokio and a Unix socket",
        goal: "≤ 6 MiB",
        met: private <= 6 * 1024,
        baseline: "keygen-relay 13.3 MB",
    }
    .print();
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    Row {
        what: &format!("daemon: wake-ups of all its threads in {idle} idle seconds"),
        figure: woken as f64,
        unit: "",
        floor: 0.0,
        floor_what: "",
        goal: "0",
        met: woken == 0,
        baseline: "",
    }
    .print();
}

/// What a process costs that has a runtime and a socket and does nothing else.
struct Floor {
    /// Milliseconds to its first answer.
    start: f64,
    /// KiB.
    resident: u64,
    /// KiB.
    private: u64,
}

impl Floor {
    fn measure(home: &Path) -> Self {
        let socket = home.join("bare.sock");
        let answered = || {
            let _ = std::fs::remove_file(&socket);
            let mut command = Command::new(std::env::current_exe().unwrap());
            let process = command.arg("bare").arg(&socket).spawn().unwrap();
            let mut client = connect(&socket);
            client.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            process
        };
        let start = median((0..RUNS).map(|_| {
            let began = Instant::now();
            let mut process = answered();
            let took = began.elapsed().as_secs_f64() * 1000.0;
            end(&mut process);
            took
        }));
        let mut process = answered();
        let (resident, private) = (status(&process, "VmRSS:"), private(&process));
        end(&mut process);
        Self { start, resident, private }
    }
}

/// The process of [`Floor`]: answers each byte with itself, until it is ended.
fn bare(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let mut byte = [0];
            while stream.readable().await.is_ok() {
                match stream.try_read(&mut byte) {
                    Ok(1) => drop(stream.try_write(&byte)),
                    Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                    _ => break,
                }
            }
        }
    });
}

fn socket(home: &Path) -> PathBuf {
    home.join("run/daemon.sock")
}

fn spawn(program: &Path, home: &Path, authorities: &Path) -> Child {
    let _ = std::fs::remove_file(socket(home));
    Command::new(program)
        .env("CLAVIGER_HOME", home)
        .env("CLAVIGER_LOG", "error")
        .env("SSL_CERT_FILE", authorities)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn connect(path: &Path) -> UnixStream {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(e) if Instant::now() > until => panic!("nobody listens at {}: {e}", path.display()),
            Err(_) => wait(Duration::from_micros(50)),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the time that passes is what is measured")]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

fn call(client: &mut UnixStream, method: &str, parameters: &Value) -> Value {
    let call = json!({"method": format!("io.claviger.Daemon.{method}"), "parameters": parameters});
    client.write_all(format!("{call}\0").as_bytes()).unwrap();
    let mut reply = Vec::new();
    let mut chunk = [0u8; 4096];
    while reply.last() != Some(&0) {
        let count = client.read(&mut chunk).unwrap();
        assert!(count > 0, "the daemon hung up");
        reply.extend_from_slice(&chunk[..count]);
    }
    reply.pop();
    serde_json::from_slice(&reply).unwrap()
}

fn good(reply: &Value) {
    assert!(reply["error"].is_null(), "{reply}");
}

fn end(daemon: &mut Child) {
    let pid = rustix::process::Pid::from_child(daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    daemon.wait().unwrap();
}

/// How often the threads of a process gave the processor up of themselves.
fn wake_ups(daemon: &Child) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    texts.map(|text| number(&text, "voluntary_ctxt_switches:")).sum()
}

/// A number of `/proc/PID/status`.
fn status(daemon: &Child, name: &str) -> u64 {
    number(&std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap(), name)
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Private pages, clean and dirty, in KiB.
fn private(daemon: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", daemon.id())).unwrap();
    let lines = text.lines().filter(|l| l.starts_with("Private_"));
    lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

#[expect(clippy::cast_precision_loss, reason = "memory of one process")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
