//! Cleans up after a demo however it ends: finished, failed, Ctrl-C, kill -9.
//!
//! A small shell process holds the other end of a pipe. While the pipe is open it only remembers the process ids that
//! it is told; when the pipe closes, because xtask ended in whatever way, it ends those processes and removes the folder.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::shell::Result;

// Signals of the terminal are ignored in the shell, not in what it was told to end. `exec` lines would end the shell.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pids= keep=
while read -r word value; do
    case $word in
        pids) pids=$value ;;
        keep) keep=yes ;;
    esac
done
[ -n "$keep" ] && exit 0
[ -n "$pids" ] && kill $pids 2>/dev/null
tries=0
for pid in $pids; do
    while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 40 ]; do sleep 0.05; tries=$((tries+1)); done
    kill -9 "$pid" 2>/dev/null
done
rm -rf "$1"
"#;

/// The cleaner-up. Dropping it cleans up.
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Watches over `folder`, which is removed at the end.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "watchdog"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// These processes, and only these, are to be ended.
    pub(crate) fn processes(&mut self, pids: &[u32]) -> Result<()> {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        self.tell(&format!("pids {}\n", pids.join(" ")))
    }

    /// Nothing is to be ended or removed.
    pub(crate) fn keep(&mut self) -> Result<()> {
        self.tell("keep\n")
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        if let Some(pipe) = &mut self.pipe {
            pipe.write_all(line.as_bytes())?;
        }
        Ok(())
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ended = self.shell.wait();
    }
}
