//! The daemon as a resident: start to first answer, memory before and after network use, wake-ups while idle.
//!
//! `bench_daemon [--idle SECONDS] [--clavigerd PATH]`; prints JSON lines. The floor of starting is a process that does
//! nothing (`true`), measured in the same run.
#![expect(clippy::unwrap_used, reason = "a bench program that cannot measure ends with the reason")]
#![expect(clippy::print_stdout, reason = "its lines are its result")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const RUNS: usize = 21;

fn main() {
    let mut idle = 60;
    let mut program = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--idle" => idle = arguments.next().and_then(|s| s.parse().ok()).unwrap_or(idle),
            "--clavigerd" => program = arguments.next().map(PathBuf::from),
            _ => {}
        }
    }
    let beside = std::env::current_exe().unwrap().with_file_name("clavigerd");
    let program = program.unwrap_or(beside);
    let home = tempfile::tempdir().unwrap();

    let floor = median((0..RUNS).map(|_| {
        let began = Instant::now();
        Command::new("true").status().unwrap();
        began.elapsed().as_secs_f64() * 1000.0
    }));
    let start = median((0..RUNS).map(|_| {
        let began = Instant::now();
        let mut daemon = spawn(&program, home.path());
        let mut client = connect(home.path());
        call(&mut client, "GetStatus", &json!({}));
        let took = began.elapsed().as_secs_f64() * 1000.0;
        end(&mut daemon);
        took
    }));
    line(
        "daemon: start to first answer",
        start,
        "ms",
        floor,
        "a process that does nothing",
        "≤ 5 ms",
        start <= 5.0,
        "keygen-relay 4.9 ms",
    );

    let mut daemon = spawn(&program, home.path());
    let mut client = connect(home.path());
    call(&mut client, "GetStatus", &json!({}));
    let resident = status(&daemon, "VmRSS:");
    line(
        "daemon: resident before any network use",
        mib(resident),
        "MiB",
        2.5,
        "tokio and a socket",
        "≤ 6 MiB",
        resident <= 6 * 1024,
        "keygen-relay 13.3 MB",
    );

    if let Some((profile, serial, code)) = claviger_license() {
        call(&mut client, "AddVendor", &json!({"profile": profile}));
        let began = Instant::now();
        let reply = call(&mut client, "Activate", &json!({"serial": serial, "unlock_code": code}));
        assert!(reply["error"].is_null(), "{reply}");
        line(
            "daemon: one activation, client included",
            began.elapsed().as_secs_f64() * 1000.0,
            "ms",
            0.0,
            "none",
            "none",
            true,
            "none",
        );
    }
    drop(client);
    wait(Duration::from_secs(2));
    let before = status(&daemon, "voluntary_ctxt_switches:");
    wait(Duration::from_secs(idle));
    let woken = status(&daemon, "voluntary_ctxt_switches:") - before;
    let private = private(&daemon);
    line(
        &format!("daemon: private memory after {idle} idle seconds"),
        mib(private),
        "MiB",
        2.5,
        "tokio and a socket",
        "≤ 6 MiB",
        private <= 6 * 1024,
        "keygen-relay 13.3 MB",
    );
    #[expect(clippy::cast_precision_loss, reason = "a small count")]
    line(
        &format!("daemon: wake-ups in {idle} idle seconds"),
        woken as f64,
        "count",
        0.0,
        "none",
        "0",
        woken == 0,
        "none",
    );
    end(&mut daemon);
}

/// A license of a server that the caller runs: profile file, serial number and unlock code, from the environment of
/// `cargo xtask bench`. Without one, memory is measured without an activation.
fn claviger_license() -> Option<(String, String, String)> {
    let profile = std::fs::read_to_string(std::env::var_os("BENCH_PROFILE")?).unwrap();
    Some((profile, std::env::var("BENCH_SERIAL").ok()?, std::env::var("BENCH_UNLOCK_CODE").ok()?))
}

fn spawn(program: &Path, home: &Path) -> Child {
    let _ = std::fs::remove_file(home.join("run/daemon.sock"));
    Command::new(program)
        .env("CLAVIGER_HOME", home)
        .env("CLAVIGER_LOG", "error")
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn connect(home: &Path) -> UnixStream {
    let path = home.join("run/daemon.sock");
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(&path) {
            Ok(stream) => return stream,
            Err(e) if Instant::now() > until => panic!("the daemon does not listen: {e}"),
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

fn end(daemon: &mut Child) {
    let pid = rustix::process::Pid::from_child(daemon);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    daemon.wait().unwrap();
}

/// A number of `/proc/PID/status`.
fn status(daemon: &Child, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

#[expect(clippy::too_many_arguments, reason = "the columns of the table")]
fn line(
    what: &str,
    figure: f64,
    unit: &str,
    floor: f64,
    floor_what: &str,
    goal: &str,
    met: bool,
    baseline: &str,
) {
    let ratio = if floor > 0.0 { figure / floor } else { 0.0 };
    let round = |x: f64| (x * 100.0).round() / 100.0;
    println!(
        "{}",
        json!({
            "what": what, "figure": round(figure), "unit": unit, "floor": round(floor), "floor_what": floor_what,
            "ratio": round(ratio), "goal": goal, "met": met, "baseline": baseline,
        })
    );
}
