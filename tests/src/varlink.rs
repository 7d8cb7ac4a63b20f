//! The daemon's socket, byte by byte: what a well-behaved client sends, and what a bad one does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
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
        let stream = UnixStream::connect(socket)?;
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
