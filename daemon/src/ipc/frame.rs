//! Frames on a local socket: bounded while they are read, whole while they are written.

use std::io;
use std::rc::Rc;

use claviger_protocol::ipc::MAX_CALL_FRAME;
use zeroize::{Zeroize as _, Zeroizing};
use zlink::connection::socket;

use super::registry::Seat;
use crate::platform::Connection;

/// A local client as `zlink` sees it.
#[derive(Debug)]
pub(super) struct Local {
    read: Bounded,
    write: Writing,
}

/// Reads, and counts the bytes of the frame that is not complete yet.
pub(super) struct Bounded {
    connection: Rc<Connection>,
    seat: Rc<Seat>,
    pending: usize,
    large: bool,
    /// Read from the socket and not handed on yet: `zlink` asks for 256 bytes at a time.
    /// Wiped when it goes: there may be an unlock code in it.
    ahead: Zeroizing<Vec<u8>>,
    taken: usize,
}

/// Bytes read from a socket at once; held only while there are any.
const AHEAD: usize = 8 * 1024;

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// Writes.
#[derive(Debug)]
pub(super) struct Writing(Rc<Connection>);

impl Local {
    pub(super) fn new(connection: Rc<Connection>, seat: Rc<Seat>) -> Self {
        let read = Bounded {
            connection: connection.clone(),
            seat,
            pending: 0,
            large: false,
            ahead: Zeroizing::default(),
            taken: 0,
        };
        Self { read, write: Writing(connection) }
    }
}

impl socket::Socket for Local {
    type ReadHalf = Bounded;
    type WriteHalf = Writing;

    fn split(self) -> (Bounded, Writing) {
        (self.read, self.write)
    }
}

impl socket::ReadHalf for Bounded {
    async fn read(&mut self, buf: &mut [u8]) -> zlink::Result<socket::ReadResult> {
        if self.pending == 0 {
            // No frame is under way: what `zlink` lends is what earlier calls left behind, unlock codes included. It is
            // wiped before this waits for the next one, or for the end.
            buf.zeroize();
        }
        if self.taken == self.ahead.len() {
            self.fill().await.map_err(|_| zlink::Error::SocketRead)?;
        }
        let rest = &self.ahead[self.taken..];
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        if self.taken == self.ahead.len() {
            // An idle connection costs no buffer.
            self.ahead = Zeroizing::default();
            self.taken = 0;
        }
        let read = &buf[..count];
        // The longest frame in these bytes: the one that was begun, and the one that goes on.
        let first = read.iter().position(|b| *b == 0);
        if self.pending + first.unwrap_or(count) >= MAX_CALL_FRAME {
            return Err(zlink::Error::BufferOverflow);
        }
        self.pending = match read.iter().rposition(|b| *b == 0) {
            None => self.pending + count,
            Some(last) => count - last - 1,
        };
        let large = self.pending > self.seat.small_frame();
        if large != self.large {
            self.large = large;
            self.seat.large(large);
        }
        Ok(socket::ReadResult::new(count))
    }
}

impl Bounded {
    async fn fill(&mut self) -> io::Result<()> {
        loop {
            self.connection.readable().await?;
            // Made only now: waiting must not cost memory.
            let mut chunk = Zeroizing::new(vec![0; AHEAD]);
            match self.connection.try_read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    chunk.truncate(read?);
                    self.ahead = chunk;
                    self.taken = 0;
                    return Ok(());
                }
            }
        }
    }
}

impl socket::WriteHalf for Writing {
    async fn write(&mut self, buf: &[u8]) -> zlink::Result<()> {
        write_all(&self.0, buf).await.map_err(|_| zlink::Error::SocketWrite)
    }
}

/// Writes all of `bytes`.
pub(super) async fn write_all(connection: &Connection, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        connection.writable().await?;
        match connection.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
