//! Drives `clap_host`, the CLAP host of these tests, which runs as a process of its own: what crashes or hangs there fails one
//! test and not the run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

/// Nothing that the host is asked may take longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The plug-in's parameter that shows the status number.
pub const LICENSE: &str = "3";
/// The plug-in's parameter that shows how an activation stands.
pub const ACTIVATION: &str = "4";

/// For how long its main thread was in the plug-in, in milliseconds, by an answer of it.
#[must_use]
pub fn took(answer: &Value) -> f64 {
    answer["took_ms"].as_f64().unwrap()
}

/// A running host.
#[derive(Debug)]
pub struct ClapHost {
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl ClapHost {
    /// Starts `program` (`env!("CARGO_BIN_EXE_clap_host")`) with a home.
    #[must_use]
    pub fn start(program: &str, home: &std::path::Path) -> Self {
        Self::start_command(Command::new(program).env("CLAVIGER_HOME", home))
    }

    /// Starts a command that is, or becomes, the host.
    #[must_use]
    pub fn start_command(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (tell, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self { input: child.stdin.take(), child, answers }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks one thing and gives the answer.
    ///
    /// # Panics
    /// When the host ends or hangs instead.
    pub fn ask(&mut self, words: &[&str]) -> Value {
        let line = words.join("\t");
        let sent = self.input.as_mut().expect("the host runs").write_all(format!("{line}\n").as_bytes());
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{line}: {e}: {answer}")),
            Err(error) => {
                let _ended = self.child.kill();
                panic!("`{line}` ({sent:?}) was not answered: {error}; the host: {:?}", self.child.wait())
            }
        }
    }

    /// Loads a plug-in and opens instances of it.
    pub fn open(&mut self, plugin: &std::path::Path, instances: u32) -> Value {
        let _loaded = self.ask(&["load", plugin.to_str().unwrap()]);
        self.ask(&["open", &instances.to_string()])
    }

    /// A parameter of the first instance.
    pub fn get(&mut self, param: &str) -> u32 {
        let values = self.ask(&["get", param]);
        let value = values["values"][0].as_f64().unwrap_or_else(|| panic!("{values}"));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
        let value = value as u32;
        value
    }

    /// Ends it, which it has to do well.
    pub fn end(mut self) {
        drop(self.input.take());
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the host ended with {status}");
    }
}

impl Drop for ClapHost {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
