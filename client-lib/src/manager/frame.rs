//! Varlink frames over a blocking stream: one JSON object ended by NUL, bounded in size and time on the way in and out.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use claviger_protocol::ipc::{CallError, MAX_CALL_FRAME, MAX_REPLY_FRAME, Method};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::ManagerError;
use crate::platform::Stream;

/// Most bytes asked from the socket at once.
const CHUNK: usize = 64 * 1024;

/// A call whose serial number and unlock code are wiped when dropped: an imported serial number may need no code.
pub(super) struct Secret(pub(super) Method);

impl Drop for Secret {
    fn drop(&mut self) {
        if let Method::Activate(call) | Method::MakeOfflineRequest(call) = &mut self.0 {
            call.serial.zeroize();
            call.unlock_code.zeroize();
        }
        if let Method::FreeMachine(call) = &mut self.0 {
            call.serial.zeroize();
            call.unlock_code.zeroize();
        }
    }
}

#[derive(Serialize)]
struct Call<'a> {
    #[serde(flatten)]
    method: &'a Method,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    oneway: bool,
}

/// What a call wants back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// One reply.
    Reply,
    /// Replies until the last.
    Replies,
    /// None: it may close the connection at once.
    Nothing,
}

/// Writes one call. The bytes are wiped afterwards: they may hold an unlock code.
pub(super) fn send(
    mut stream: &Stream,
    method: &Method,
    wants: Wants,
    patience: Duration,
) -> Result<(), ManagerError> {
    // The count comes first, so that the buffer never moves and leaves no copy of a secret behind.
    let mut length = Count(1);
    let call = Call { method, more: wants == Wants::Replies, oneway: wants == Wants::Nothing };
    serde_json::to_writer(&mut length, &call).map_err(ManagerError::Unreadable)?;
    if length.0 > MAX_CALL_FRAME {
        return Err(ManagerError::CallTooLarge { max: MAX_CALL_FRAME });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.0));
    serde_json::to_writer(&mut *bytes, &call).map_err(ManagerError::Unreadable)?;
    bytes.push(0);
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(&bytes).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ManagerError::Timeout(patience.as_secs()),
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => ManagerError::Closed,
        _ => ManagerError::Io(error),
    })
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What every reply has, whatever it is about.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    continues: bool,
}

#[derive(Deserialize)]
struct Content<R> {
    parameters: R,
}

/// One good reply.
pub(super) struct Reply<R> {
    pub(super) parameters: R,
    pub(super) continues: bool,
}

/// Cuts a stream into frames; keeps what came too early.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: Vec<u8>,
}

impl Reader {
    /// The next reply, which must be complete within `patience`.
    pub(super) fn reply<R: DeserializeOwned>(
        &mut self,
        stream: &Stream,
        patience: Duration,
    ) -> Result<Reply<R>, ManagerError> {
        let frame = self.frame(stream, patience)?;
        let head: Head = serde_json::from_slice(&frame).map_err(ManagerError::Unreadable)?;
        match head.error {
            None => {
                let content: Content<R> = serde_json::from_slice(&frame).map_err(ManagerError::Unreadable)?;
                Ok(Reply { parameters: content.parameters, continues: head.continues })
            }
            Some(name) => Err(match serde_json::from_slice::<CallError>(&frame) {
                Ok(error) => ManagerError::Call(error),
                Err(_) if name == "org.varlink.service.PermissionDenied" => ManagerError::NotOurs,
                Err(_) => ManagerError::Unknown(name.chars().filter(|c| !c.is_control()).take(128).collect()),
            }),
        }
    }

    fn frame(&mut self, mut stream: &Stream, patience: Duration) -> Result<Vec<u8>, ManagerError> {
        let deadline = Instant::now().checked_add(patience);
        let timeout = || ManagerError::Timeout(patience.as_secs());
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|b| *b == 0) {
                let rest = self.buffer.split_off(searched + end + 1);
                let mut frame = std::mem::replace(&mut self.buffer, rest);
                frame.pop();
                return Ok(frame);
            }
            searched = self.buffer.len();
            // One byte of the bound is the NUL's.
            let room = MAX_REPLY_FRAME.saturating_sub(searched).min(CHUNK);
            if room == 0 {
                return Err(ManagerError::ReplyTooLarge { max: MAX_REPLY_FRAME });
            }
            let wait = match deadline {
                None => None,
                Some(deadline) => Some(
                    deadline
                        .checked_duration_since(Instant::now())
                        .filter(|left| !left.is_zero())
                        .ok_or_else(timeout)?,
                ),
            };
            stream.set_read_timeout(wait)?;
            self.buffer.resize(searched + room, 0);
            let read = stream.read(&mut self.buffer[searched..]);
            self.buffer.truncate(searched + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(ManagerError::Closed),
                Ok(_) => {}
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(timeout()),
                    ErrorKind::ConnectionReset => return Err(ManagerError::Closed),
                    _ => return Err(ManagerError::Io(error)),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claviger_protocol::ipc::{Empty, GetStatusReply};

    fn answered(bytes: &'static [u8]) -> (Reader, Stream) {
        let (ours, mut theirs) = Stream::pair().unwrap();
        std::thread::spawn(move || theirs.write_all(bytes));
        (Reader::default(), ours)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn two_frames_in_one_packet_are_two_replies() {
        let (mut reader, stream) = answered(b"{\"parameters\":{},\"continues\":true}\0{\"parameters\":{}}\0");
        assert!(reader.reply::<Empty>(&stream, SECOND).unwrap().continues);
        assert!(!reader.reply::<Empty>(&stream, SECOND).unwrap().continues);
        assert!(matches!(reader.reply::<Empty>(&stream, SECOND), Err(ManagerError::Closed)));
    }

    #[test]
    fn errors_are_typed_and_strange_ones_named_without_escapes() {
        let (mut reader, stream) = answered(
            b"{\"error\":\"io.claviger.Daemon.NotPermitted\",\"parameters\":{\"message\":\"no\"}}\0\
              {\"error\":\"org.varlink.service.PermissionDenied\",\"parameters\":{}}\0\
              {\"error\":\"org.varlink.service.MethodNotFound\\u001b[31m\",\"parameters\":{\"method\":\"x\"}}\0",
        );
        let error = reader.reply::<Empty>(&stream, SECOND).err().unwrap();
        assert!(matches!(error, ManagerError::Call(CallError::NotPermitted { advice: None, .. })));
        let error = reader.reply::<Empty>(&stream, SECOND).err().unwrap();
        assert!(matches!(error, ManagerError::NotOurs), "{error}");
        let error = reader.reply::<Empty>(&stream, SECOND).err().unwrap();
        assert!(matches!(error, ManagerError::Unknown(n) if n == "org.varlink.service.MethodNotFound[31m"));
    }

    #[test]
    fn what_is_not_a_reply_is_said_so() {
        for bytes in [&b"\0"[..], b"[]\0", b"{\"parameters\":3}\0", b"{}\0", b"\xff\xfe\0"] {
            let (mut reader, stream) = answered(bytes);
            let error = reader.reply::<GetStatusReply>(&stream, SECOND).err().unwrap();
            assert!(matches!(error, ManagerError::Unreadable(_)), "{bytes:?}: {error}");
        }
    }

    #[test]
    fn a_silent_or_dribbling_daemon_is_left_in_time() {
        let (ours, mut theirs) = Stream::pair().unwrap();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let dribble = std::thread::spawn(move || {
            while stopped.recv_timeout(Duration::from_millis(5)).is_err() {
                if theirs.write_all(b" ").is_err() {
                    break;
                }
            }
        });
        let begun = Instant::now();
        let error = Reader::default().reply::<Empty>(&ours, Duration::from_millis(100)).err().unwrap();
        assert!(matches!(error, ManagerError::Timeout(_)), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        stop.send(()).unwrap();
        dribble.join().unwrap();
    }

    #[test]
    fn an_endless_reply_ends_at_the_bound() {
        let (ours, mut theirs) = Stream::pair().unwrap();
        std::thread::spawn(move || while theirs.write_all(&[b' '; CHUNK]).is_ok() {});
        let error = Reader::default().reply::<Empty>(&ours, Duration::from_secs(60)).err().unwrap();
        assert!(matches!(error, ManagerError::ReplyTooLarge { .. }), "{error}");
    }

    #[test]
    fn a_call_too_large_is_not_sent() {
        let (ours, _theirs) = Stream::pair().unwrap();
        let profile = "x".repeat(MAX_CALL_FRAME);
        let error = send(&ours, &Method::AddVendor { profile }, Wants::Reply, SECOND).err().unwrap();
        assert!(matches!(error, ManagerError::CallTooLarge { .. }), "{error}");
    }
}
