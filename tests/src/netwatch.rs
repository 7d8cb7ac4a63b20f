//! A network namespace without any interface but loopback, and everything that passes in it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use crate::capture::Capture;
use crate::process::{self, Running};

/// Loopback up, a packet socket on every interface, one line a packet. Python has what this needs without unsafe code.
const WATCH: &str = r#"
import fcntl, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
request = struct.pack('16sh', b'lo', 0x1 | 0x40)
fcntl.ioctl(s, 0x8914, request)
names = [name for _, name in socket.if_nameindex()]
watch = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
# SO_RCVBUFFORCE
watch.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)
out = open(sys.argv[1], 'w', buffering=1)
print('watching ' + ' '.join(names), flush=True)
while True:
    out.write(watch.recv(1 << 17).hex() + '\n')
    # SOL_PACKET, PACKET_STATISTICS: a watch that was too slow would prove nothing.
    if struct.unpack('II', watch.getsockopt(263, 6, 8))[1]:
        sys.exit('packets were lost')
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

    /// Moves the calling thread into the namespace, and with it all threads and processes that it starts from now on.
    pub fn enter(&self) {
        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
        use std::os::fd::AsFd as _;
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Everything that was seen until now, but for packets of the watch's own.
    #[must_use]
    pub fn capture(&self) -> Capture {
        let _seen = self.others_seen();
        let ours = HEXLOWER.encode(KNOWN.as_bytes());
        let seen = std::fs::read_to_string(&self.file).unwrap();
        // The last line may be half written.
        let whole = seen.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Vec<&str> = whole.lines().filter(|line| !line.contains(&ours)).collect();
        Capture::of(&lines.join("\n"))
    }

    /// Sends a packet of our own, waits until it was seen, and gives how many others were seen before it, since the watch
    /// began: a watch that sees nothing proves nothing.
    #[must_use]
    pub fn others_seen(&self) -> usize {
        let known = format!("{KNOWN}-{}", crate::random_hex(8));
        let send = format!(
            "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'{known}', ('127.0.0.1', 9))"
        );
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).args(["python3", "-c", &send]);
        let _said = process::run(&mut command, "").ok();
        let [known, ours] = [known.as_str(), KNOWN].map(|text| HEXLOWER.encode(text.as_bytes()));
        let begun = Instant::now();
        loop {
            let seen = std::fs::read_to_string(&self.file).unwrap_or_default();
            let lines: Vec<&str> = seen.lines().collect();
            if let Some(at) = lines.iter().position(|line| line.contains(&known)) {
                // Neither its packets nor what the system answers to them, which repeats them.
                return lines[..at].iter().filter(|line| !line.contains(&ours)).count();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "the watch does not see its own packet");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}
