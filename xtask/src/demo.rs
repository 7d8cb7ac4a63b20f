//! `cargo xtask demo`: the main job, once, over real processes on loopback, in a temporary home. Every step prints the
//! command that a person would type and what it really printed.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{self, Failure, Result};
use crate::watchdog::Watchdog;

const PRODUCT: &str = "com.example.solstice";
/// How long a program may take until it says that it is ready.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn run(args: &[String]) -> Result<()> {
    let keep = args.iter().any(|a| a == "--keep");
    if let Some(unknown) = args.iter().find(|a| *a != "--keep") {
        return Err(Failure::new(format!("`demo` does not know {unknown}; see cargo xtask --help")));
    }
    let building = Instant::now();
    shell::run(shell::cargo().args([
        "build",
        "-p",
        "claviger-server",
        "-p",
        "claviger-daemon",
        "-p",
        "claviger-cli",
    ]))?;
    let built = building.elapsed();

    let mut stage = Stage::new()?;
    let done = play(&mut stage);
    match done {
        Ok(()) => {
            summary(&stage, built);
            if keep { stage.leave_running() } else { stage.stop_all() }
        }
        Err(failure) => {
            println!("\nThe demo stopped here; what it started is being ended.");
            Err(failure)
        }
    }
}

fn play(stage: &mut Stage) -> Result<()> {
    stage.say("1. A vendor sets its server up");
    let url = format!("http://127.0.0.1:{}", stage.port);
    let init = ["init", "--data", "server", "--vendor", "com.example", "--name", "Example Audio"];
    stage.server(&[&init[..], &["--prefix", "SOL", "--server-url", &url, "--demo"]].concat())?;
    stage.server(&["product", "add", "--data", "server", PRODUCT, "--name", "Solstice"])?;
    stage.start_server()?;

    stage.say("2. It sells a license for three computers");
    stage.show_only("claviger-server license issue --data server --product com.example.solstice --seats 3");
    let issue = ["--json", "license", "issue", "--data", "server", "--product", PRODUCT, "--seats", "3"];
    let issued = stage.quiet("claviger-server", &issue, "")?;
    let (serial, code) = serial_and_code(&issued)?;
    println!("  serial number  {serial}\n  unlock code    {code}");

    stage.say("3. The customer's computer: the daemon starts, the vendor's profile comes with the installer");
    stage.start_daemon()?;
    stage.claviger(&["vendor", "add", "server/vendor.clvprofile"])?;

    stage.say("4. What will activation send? Exactly this, and the proof of the unlock code (never the code itself)");
    stage.claviger(&["machine", "show"])?;

    stage.say("5. Activate");
    stage.claviger_with(
        &["activate", &serial, "--unlock-code-stdin"],
        &format!("{code}\n"),
        "unlock code: typed",
    )?;
    stage.claviger(&["check", "Solstice"])?;

    stage.say("6. Server and daemon are stopped: the license is in a file, and stays good");
    stage.stop_daemon()?;
    stage.stop_server()?;
    stage.claviger(&["check", "Solstice"])?;

    stage.say("7. Both start again; the license is given up, and its seat is free");
    stage.start_server()?;
    stage.start_daemon()?;
    stage.claviger(&["deactivate", "Solstice"])?;
    stage.expect_refusal(&["check", "Solstice"])?;
    stage.server(&["license", "show", "--data", "server", &serial])?;
    let shown =
        stage.quiet("claviger-server", &["--json", "license", "show", "--data", "server", &serial], "")?;
    seats_free(&shown)?;
    stage.serial = serial;
    stage.code = code;
    Ok(())
}

fn parse(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|e| Failure::new(format!("not JSON ({e}): {text}")))
}

fn serial_and_code(issued: &str) -> Result<(String, String)> {
    let value = parse(issued)?;
    let one = value["licenses"].get(0).unwrap_or(&value);
    match (one["serial"].as_str(), one["unlock_code"].as_str()) {
        (Some(serial), Some(code)) => Ok((serial.to_owned(), code.to_owned())),
        _ => Err(Failure::new(format!("no serial number and unlock code in {issued}"))),
    }
}

/// The demo claims that the seat is free: it looks.
fn seats_free(shown: &str) -> Result<()> {
    let value = parse(shown)?;
    if value["seats_used"] == 0 {
        return Ok(());
    }
    Err(Failure::new(format!("the seat is not free: {shown}")))
}

fn summary(stage: &Stage, built: Duration) {
    shell::heading("\nSummary");
    for (what, took) in &stage.times {
        println!("  {:>8.1} ms  {what}", took.as_secs_f64() * 1000.0);
    }
    println!(
        "\nA serial number became a license on this computer, which outlived server and daemon, and its seat is free \
         again.\nThe demo took {:.1} s (building before it: {:.1} s).",
        stage.begun.elapsed().as_secs_f64(),
        built.as_secs_f64()
    );
}

/// Where the demo plays: a folder, two processes, and somebody who cleans up.
struct Stage {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
    daemon: Option<Child>,
    watchdog: Watchdog,
    times: Vec<(String, Duration)>,
    begun: Instant,
    serial: String,
    code: String,
}

impl Stage {
    fn new() -> Result<Self> {
        let made = shell::output(Command::new("mktemp").args(["-d", "-t", "claviger-demo.XXXXXX"]))?;
        let folder = PathBuf::from(made.trim());
        let watchdog = Watchdog::start(&folder)?;
        let programs = shell::target_dir()?.join("debug");
        // The server's address stands in the vendor profile, so it is chosen before the server starts.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        println!();
        for line in setting(&programs, &folder) {
            shell::heading(&format!("$ {line}"));
        }
        Ok(Self {
            folder,
            programs,
            port,
            server: None,
            daemon: None,
            watchdog,
            times: Vec::new(),
            begun: Instant::now(),
            serial: String::new(),
            code: String::new(),
        })
    }

    fn say(&self, text: &str) {
        println!("\n── {text}");
    }

    fn show_only(&self, line: &str) {
        shell::heading(&format!("$ {line}"));
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(args).current_dir(&self.folder).env("CLAVIGER_HOME", self.folder.join("home"));
        // What a person's shell might bring along and the demo does not want.
        for name in [
            "CLAVIGER_LOG",
            "CLAVIGER_FAULT",
            "NOTIFY_SOCKET",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command without showing anything; gives its standard output.
    fn quiet(&self, program: &str, args: &[&str], input: &str) -> Result<String> {
        let (ok, out) = self.finish(self.command(program, args), input)?;
        if ok { Ok(out) } else { Err(Failure::new(format!("`{program} {}` failed:\n{out}", args.join(" ")))) }
    }

    fn finish(&self, mut command: Command, input: &str) -> Result<(bool, String)> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        let done = child.wait_with_output()?;
        let mut text = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() || text.is_empty() {
            text += &String::from_utf8_lossy(&done.stderr);
        }
        Ok((done.status.success(), text))
    }

    fn shown(&mut self, program: &str, args: &[&str], input: &str, hint: &str, good: bool) -> Result<()> {
        let command = self.command(program, args);
        let comment = if hint.is_empty() { String::new() } else { format!("     # {hint}") };
        self.show_only(&format!("{}{comment}", shell::typed(&command)));
        let begun = Instant::now();
        let (ok, out) = self.finish(command, input)?;
        self.times
            .push((format!("{program} {}", args.first().copied().unwrap_or_default()), begun.elapsed()));
        for line in out.lines() {
            println!("  {line}");
        }
        if ok == good {
            return Ok(());
        }
        let what = if good { "failed" } else { "succeeded, and should not have" };
        Err(Failure::new(format!("`{program} {}` {what}", args.join(" "))))
    }

    fn server(&mut self, args: &[&str]) -> Result<()> {
        self.shown("claviger-server", args, "", "", true)
    }

    fn claviger(&mut self, args: &[&str]) -> Result<()> {
        self.shown("claviger", args, "", "", true)
    }

    fn claviger_with(&mut self, args: &[&str], input: &str, hint: &str) -> Result<()> {
        self.shown("claviger", args, input, hint, true)
    }

    fn expect_refusal(&mut self, args: &[&str]) -> Result<()> {
        self.shown("claviger", args, "", "", false)
    }

    fn start_server(&mut self) -> Result<()> {
        let listen = format!("127.0.0.1:{}", self.port);
        let args = ["serve", "--data", "server", "--listen", &listen, "--demo"];
        let port = self.port;
        let listening = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok();
        self.server = Some(self.start("claviger-server", &args, listening)?);
        self.tell_watchdog()
    }

    fn start_daemon(&mut self) -> Result<()> {
        let socket = self.folder.join("home/run/daemon.sock");
        self.daemon = Some(self.start("clavigerd", &[], || UnixStream::connect(&socket).is_ok())?);
        self.tell_watchdog()
    }

    /// Starts a program in the background and waits until it answers.
    fn start(&mut self, program: &str, args: &[&str], answers: impl Fn() -> bool) -> Result<Child> {
        let mut command = self.command(program, args);
        self.show_only(&format!("{} &", shell::typed(&command)));
        let path = self.folder.join(format!("{program}.log"));
        let log = std::fs::File::options().create(true).append(true).open(&path)?;
        let begun = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        while !answers() {
            if child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let _gone = child.kill();
                let said = std::fs::read_to_string(&path)?;
                return Err(Failure::new(format!("{program} did not get ready:\n{said}")));
            }
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.times.push((format!("{program} ready"), begun.elapsed()));
        println!("  ready after {:.1} ms (process {})", begun.elapsed().as_secs_f64() * 1000.0, child.id());
        Ok(child)
    }

    fn stop_daemon(&mut self) -> Result<()> {
        let child = self.daemon.take();
        self.stop("clavigerd", child)
    }

    fn stop_server(&mut self) -> Result<()> {
        let child = self.server.take();
        self.stop("claviger-server", child)
    }

    fn stop(&mut self, program: &str, child: Option<Child>) -> Result<()> {
        let Some(mut child) = child else { return Ok(()) };
        let pid = child.id().to_string();
        self.show_only(&format!("kill {pid}     # {program}"));
        let begun = Instant::now();
        shell::output(Command::new("kill").arg(&pid))?;
        let status = child.wait()?;
        self.times.push((format!("{program} stopped"), begun.elapsed()));
        println!("  {program} has ended ({status})");
        self.tell_watchdog()?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("{program} ended with {status}"))) }
    }

    fn tell_watchdog(&mut self) -> Result<()> {
        let pids: Vec<u32> = [&self.server, &self.daemon].into_iter().flatten().map(Child::id).collect();
        self.watchdog.processes(&pids)
    }

    fn stop_all(mut self) -> Result<()> {
        println!();
        self.stop_daemon()?;
        self.stop_server()
    }

    fn leave_running(mut self) -> Result<()> {
        self.watchdog.keep()?;
        shell::heading("\nServer and daemon go on. In another terminal:");
        for line in setting(&self.programs, &self.folder) {
            println!("  {line}");
        }
        let pids: Vec<String> =
            [&self.server, &self.daemon].into_iter().flatten().map(|c| c.id().to_string()).collect();
        println!(
            "\n  claviger activate {}     # unlock code {}\n  claviger license list\n  claviger check Solstice\n  \
             claviger doctor\n  claviger-server activation list --data server\n  claviger-server license issue --data \
             server --product {PRODUCT} --seats 1\n\nAnd when you have seen enough:\n  kill {} && sleep 1 && rm -r {}",
            self.serial,
            self.code,
            pids.join(" "),
            self.folder.display()
        );
        Ok(())
    }
}

/// What a person types first, so that the commands above can be typed as they are printed.
fn setting(programs: &Path, folder: &Path) -> Vec<String> {
    vec![
        format!("cd {}", folder.display()),
        format!("export CLAVIGER_HOME={}/home PATH=\"{}:$PATH\"", folder.display(), programs.display()),
    ]
}
