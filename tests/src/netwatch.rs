//! A network namespace without any interface but loopback, and everything that passes in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::process::{self, Running};

/// Loopback up, a packet socket on every interface, one line a packet. Python has what this needs without unsafe code.
const WATCH: &str = r#"
import fcntl, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
request = struct.pack('16sh', b'lo', 0x1 | 0x40)
fcntl.ioctl(s, 0x8914, request)
names = [name for _, name in socket.if_nameindex()]
watch = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
out = open(sys.argv[1], 'w', buffering=1)
print('watching ' + ' '.join(names), flush=True)
while True:
    out.write(watch.recv(65536).hex() + '\n')
"#;

/// What a packet of our own looks like.
const KNOWN: &str = "claviger-netwatch-control";

/// The namespace. It ends when dropped.
#[derive(Debug)]
pub struct NetWatch {
    watcher: Running,
    file: PathBuf,
}

impl NetWatch {
    /// Makes the namespace and watches it; packets are written to `file`.
    #[must_use]
    pub fn start(file: PathBuf) -> Self {
        let mut command = Command::new("unshare");
        command.args(["--net", "python3", "-c", WATCH]).arg(&file);
        let started = Running::start_until(&mut command, "watching");
        let (watcher, line) = started.unwrap_or_else(|(status, said)| panic!("{status}\n{said}"));
        assert_eq!(line.trim(), "watching lo", "no interface but loopback");
        Self { watcher, file }
    }

    /// The process whose namespace it is; [`crate::Machine::network_of`] takes it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.watcher.pid()
    }

    /// Sends a packet of our own, waits until it was seen, and gives how many others were seen before it: a watch that
    /// sees nothing proves nothing.
    #[must_use]
    pub fn others_seen(&self) -> usize {
        let send = format!(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{KNOWN}', ('127.0.0.1', 9))"
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).args(["python3", "-c", &send]);
        let _said = process::run(&mut command, "").ok();
        let known: String = KNOWN.bytes().map(|b| format!("{b:02x}")).collect();
        let begun = Instant::now();
        loop {
            let seen = std::fs::read_to_string(&self.file).unwrap_or_default();
            let lines: Vec<&str> = seen.lines().collect();
            if let Some(at) = lines.iter().position(|line| line.contains(&known)) {
                return at;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the watch does not see its own packet");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}
