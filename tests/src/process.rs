//! Starting, watching and ending processes. Every wait has a bound; whatever is still there at the end is killed.

use std::io::{Read, Write as _};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::platform;

/// Nothing that a test starts may take longer than this, unless the test says so.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// What a finished program left behind.
#[derive(Debug)]
pub struct Done {
    /// The command, for messages.
    pub command: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Done {
    /// The same, if it succeeded.
    ///
    /// # Panics
    /// Showing all it wrote, if it did not.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    /// The same, if it failed with an exit code (not by a signal, not by a Rust panic).
    #[must_use]
    pub fn refused(self) -> Self {
        assert!(self.code.is_some_and(|c| c != 0 && c != 101), "{self}");
        self
    }

    /// The one JSON value on standard output.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.stdout.trim())
            .unwrap_or_else(|e| panic!("not one JSON value ({e}): {self}"))
    }

    /// The JSON values on standard output, one a line.
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines().filter(|line| !line.trim().is_empty());
        lines.map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("not JSON ({e}): {l}"))).collect()
    }

    /// The stable word of a refusal, from `--json`.
    #[must_use]
    pub fn error_code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error code: {self}")).to_owned()
    }

    /// Everything it wrote.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// The same, if what it wrote has all of `words`.
    #[must_use]
    pub fn says(self, words: &[&str]) -> Self {
        let text = self.text();
        for word in words {
            assert!(text.contains(word), "“{word}” is missing: {self}");
        }
        self
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        write!(f, "`{command}` ended with {code:?} after {took:?}\n--- out\n{stdout}\n--- err\n{stderr}\n---")
    }
}

/// Runs a command to its end, with `input` on its standard input.
#[must_use]
pub fn run(command: &mut Command, input: &str) -> Done {
    run_within(command, input, PATIENCE)
}

/// Runs a command that has to be through in `limit`.
#[must_use]
pub fn run_within(command: &mut Command, input: &str, limit: Duration) -> Done {
    let name = format!("{command:?}");
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    // A program that does not read its input closes the pipe; that is its right.
    let _closed = child.stdin.take().unwrap().write_all(input.as_bytes());
    let out = collect(child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let status = wait_within(&mut child, limit);
    let took = begun.elapsed();
    if status.is_none() {
        let _gone = child.kill();
        let _gone = child.wait();
    }
    // A daemon that it started may hold its pipes open: what counts is what was written until it ended.
    let text = |r: &Receiver<()>, buffer: &Mutex<Vec<u8>>| {
        let _closed = r.recv_timeout(Duration::from_secs(2));
        String::from_utf8_lossy(&buffer.lock().unwrap()).into_owned()
    };
    let done = Done {
        command: name,
        code: status.and_then(|s| s.code()),
        stdout: text(&out.0, &out.1),
        stderr: text(&err.0, &err.1),
        took,
    };
    assert!(status.is_some(), "still running after {limit:?}: {done}");
    done
}

/// Reads a pipe in a thread of its own; the channel closes when the pipe does.
fn collect(mut pipe: impl Read + Send + 'static) -> (Receiver<()>, Arc<Mutex<Vec<u8>>>) {
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let (sender, receiver) = mpsc::channel();
    let into = Arc::clone(&buffer);
    std::thread::spawn(move || {
        let mut part = [0u8; 8192];
        while let Ok(length) = pipe.read(&mut part) {
            if length == 0 {
                break;
            }
            into.lock().unwrap().extend_from_slice(&part[..length]);
        }
        drop(sender);
    });
    (receiver, buffer)
}

/// Waits for the end of a process; `None` if `limit` passes first. A pidfd makes the end an event.
fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_child(child);
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else { return child.wait().ok() };
    let timeout = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    let ended = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap_or(0) > 0;
    if ended { child.wait().ok() } else { None }
}

/// Waits until there is something to read; for a pidfd, until the process has ended.
pub fn wait_readable(fd: &std::os::fd::OwnedFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap(), tv_nsec: 0 };
    assert!(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).unwrap() > 0, "still waiting");
}

/// What a process in the background has written, and whether more can come.
#[derive(Debug, Default)]
struct Heard {
    text: Mutex<(Vec<u8>, usize)>,
    grown: Condvar,
}

/// A process in the background. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    heard: Arc<Heard>,
    name: String,
}

fn listen(mut pipe: impl Read + Send + 'static, heard: &Arc<Heard>) {
    heard.text.lock().unwrap().1 += 1;
    let heard = Arc::clone(heard);
    std::thread::spawn(move || {
        let mut part = [0u8; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut part) {
            heard.text.lock().unwrap().0.extend_from_slice(&part[..length]);
            heard.grown.notify_all();
        }
        heard.text.lock().unwrap().1 -= 1;
        heard.grown.notify_all();
    });
}

impl Running {
    /// Starts a command; what it writes is kept for messages.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let heard = Arc::new(Heard::default());
        listen(child.stdout.take().unwrap(), &heard);
        listen(child.stderr.take().unwrap(), &heard);
        Self { child, heard, name }
    }

    /// Starts a program and waits until it has written a line with `word` in it. `Err` if it ends before that.
    ///
    /// # Errors
    /// Its end, and what it said.
    pub fn start_until(command: &mut Command, word: &str) -> Result<(Self, String), (ExitStatus, String)> {
        let mut running = Self::start(command);
        let line = |text: &[u8]| {
            let complete = text.rsplit(|b| *b == b'\n').skip(1);
            complete.map(String::from_utf8_lossy).find(|l| l.contains(word)).map(|l| l.into_owned())
        };
        let heard = Arc::clone(&running.heard);
        let guard = heard.text.lock().unwrap();
        let waiting = |(text, open): &mut (Vec<u8>, usize)| *open > 0 && line(text).is_none();
        let (guard, _) = heard.grown.wait_timeout_while(guard, PATIENCE, waiting).unwrap();
        let found = line(&guard.0);
        let ended = guard.1 == 0;
        drop(guard);
        match found {
            Some(line) => Ok((running, line)),
            None if ended => Err((running.child.wait().unwrap(), running.output())),
            None => panic!("no “{word}” after {PATIENCE:?}: {}\n{}", running.name, running.output()),
        }
    }

    /// Starts a service and waits until it says that it is ready, the way systemd waits (`sd_notify`).
    /// `Err` with its exit status if it ends before that.
    ///
    /// # Errors
    /// The end of the process.
    pub fn start_service(command: &mut Command, folder: &Path) -> Result<Self, (ExitStatus, String)> {
        if platform::wine() {
            // No such socket reaches out of Wine: the log says the same.
            return Self::start_until(command, "service: ready").map(|(running, _line)| running);
        }
        let address = folder.join(format!("n{}", crate::random_hex(4)));
        let socket = UnixDatagram::bind(&address).unwrap();
        // Another user's daemon reports here too.
        std::fs::set_permissions(&address, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        command.env("NOTIFY_SOCKET", &address);
        let mut running = Self::start(command);
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&running.child);
        let end = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let ready = loop {
            use rustix::event::{PollFd, PollFlags, Timespec, poll};
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let timeout = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap(), tv_nsec: 0 };
            let mut events = [PollFd::new(&socket, PollFlags::IN), PollFd::new(&end, PollFlags::IN)];
            let seen = poll(&mut events, Some(&timeout)).unwrap();
            if events[0].revents().contains(PollFlags::IN) {
                let mut message = [0u8; 4096];
                let length = socket.recv(&mut message).unwrap();
                if message[..length].split(|b| *b == b'\n').any(|line| line == b"READY=1") {
                    break Ok(());
                }
            } else if seen > 0 {
                break Err(running.child.wait().unwrap());
            } else {
                panic!("not ready after {PATIENCE:?}: {}\n{}", running.name, running.output());
            }
        };
        let _gone = std::fs::remove_file(&address);
        match ready {
            Ok(()) => Ok(running),
            Err(status) => Err((status, running.output())),
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.heard.text.lock().unwrap().0).into_owned()
    }

    /// Waits until what it wrote so far is as wanted, at most `limit`; whether it is.
    pub fn wait_output(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> bool {
        let guard = self.heard.text.lock().unwrap();
        let waiting =
            |(text, open): &mut (Vec<u8>, usize)| *open > 0 && !wanted(&String::from_utf8_lossy(text));
        let (guard, _) = self.heard.grown.wait_timeout_while(guard, limit, waiting).unwrap();
        wanted(&String::from_utf8_lossy(&guard.0))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Asks it to end (SIGTERM; SIGINT under Wine, which makes Ctrl-C of it) and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        use rustix::process::{Pid, Signal, kill_process};
        let signal = if platform::wine() { Signal::INT } else { Signal::TERM };
        let _gone = kill_process(Pid::from_child(&self.child), signal);
        self.wait_end(PATIENCE)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }

    /// Waits for its end.
    pub fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        wait_within(&mut self.child, limit)
            .unwrap_or_else(|| panic!("still running after {limit:?}: {}\n{}", self.name, self.output()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "a failed test shows what its processes said")]
            {
                eprintln!("--- {}\n{}", self.name, self.output());
            }
        }
    }
}
