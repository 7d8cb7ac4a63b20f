//! The daemon's socket, byte by byte: what a well-behaved client sends, and what a bad one does.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A connection to a daemon.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(socket: &Path) -> std::io::Result<Self> {
        Self::over(UnixStream::connect(socket)?)
    }

    /// The same through a program that carries the bytes to where no socket of ours reaches. It goes with the connection.
    ///
    /// # Errors
    /// When it does not say that it is connected.
    pub fn through(relay: &mut Command) -> std::io::Result<Self> {
        let (ours, mut theirs) = UnixStream::pair()?;
        let mut relay = relay.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (mut to, mut from) = (relay.stdin.take().unwrap(), relay.stdout.take().unwrap());
        if from.read(&mut [0])? == 0 {
            let _ended = relay.wait();
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let mut sent = theirs.try_clone()?;
        std::thread::spawn(move || carry(&mut sent, &mut to));
        std::thread::spawn(move || {
            carry(&mut from, &mut theirs);
            let _both = theirs.shutdown(Shutdown::Both);
            let _ended = relay.wait();
        });
        Self::over(ours)
    }

    fn over(stream: UnixStream) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the daemon has hung up.
    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one frame; `None` when the daemon hung up.
    ///
    /// # Errors
    /// When nothing comes for half a minute.
    pub fn read(&mut self) -> std::io::Result<Option<Value>> {
        let mut frame = Vec::new();
        match self.stream.read_until(0, &mut frame) {
            Ok(0) => return Ok(None),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        if frame.pop() != Some(0) {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(&frame).unwrap()))
    }

    /// Says that nothing more comes and takes what does, until the daemon hangs up.
    ///
    /// # Panics
    /// When it does not within half a minute.
    pub fn finish(mut self) {
        let _gone = self.stream.get_mut().shutdown(Shutdown::Write);
        if let Err(error) = self.stream.read_to_end(&mut Vec::new()) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the daemon does not hang up");
        }
    }

    /// Calls a method and gives its reply.
    ///
    /// # Errors
    /// When the daemon hung up.
    pub fn call(&mut self, method: &str, parameters: &Value) -> std::io::Result<Value> {
        let name =
            if method.contains('.') { method.to_owned() } else { format!("io.claviger.Daemon.{method}") };
        let mut frame = json!({ "method": name, "parameters": parameters }).to_string().into_bytes();
        frame.push(0);
        self.send_raw(&frame)?;
        self.read()?.ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

/// Hands on what comes, at once, until either side is gone.
fn carry(from: &mut impl Read, to: &mut impl Write) {
    let mut part = [0u8; 65_536];
    while let Ok(length @ 1..) = from.read(&mut part) {
        if to.write_all(&part[..length]).is_err() {
            break;
        }
    }
}
