//! A small D-Bus client, for what a screen reader asks a window: calls are sent many at a time and answered in whatever order,
//! values come as JSON. Blocking, over one socket; a library would bring an async runtime and a minute of compiling along.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::PATIENCE;

/// Longest message that is believed.
const MAX_MESSAGE: usize = 64 << 20;
/// How many calls are under way at a time: less than what either side's buffers hold.
const WINDOW: usize = 64;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// `s`
    Text(&'a str),
    /// `u`
    Unsigned(u32),
    /// `i`
    Signed(i32),
    /// `b` in a variant
    VariantFlag(bool),
}

/// A call: to whom, of which object, what.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The bus name.
    pub to: &'a str,
    /// The object.
    pub path: &'a str,
    /// `interface.Member`
    pub method: &'a str,
    /// What comes with it.
    pub arguments: Vec<Arg<'a>>,
}

/// The values of an answer, or the error's name and words.
pub type Answer = Result<Vec<Value>, String>;

/// A connection to a bus.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    inbox: Vec<u8>,
    answers: HashMap<u32, Answer>,
    signals: u64,
}

impl Bus {
    /// Connects to the bus at an address such as `unix:path=/tmp/x,guid=…`.
    #[must_use]
    pub fn connect(address: &str) -> Self {
        let stream = open(address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut bus = Self { stream, serial: 0, inbox: Vec::new(), answers: HashMap::new(), signals: 0 };
        let user = data_encoding::HEXLOWER.encode(rustix::process::getuid().as_raw().to_string().as_bytes());
        bus.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes()).unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            bus.stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        assert!(line.starts_with(b"OK "), "the bus refused: {}", String::from_utf8_lossy(&line));
        bus.stream.write_all(b"BEGIN\r\n").unwrap();
        let _name = bus.bus("Hello", &[]);
        bus
    }

    /// A call of the bus itself, which has to succeed.
    pub fn bus(&mut self, member: &str, arguments: &[Arg<'_>]) -> Vec<Value> {
        let method = format!("org.freedesktop.DBus.{member}");
        self.call("org.freedesktop.DBus", "/org/freedesktop/DBus", &method, arguments)
            .unwrap_or_else(|error| panic!("{member}: {error}"))
    }

    /// One call.
    ///
    /// # Errors
    /// What the other side says.
    pub fn call(&mut self, to: &str, path: &str, method: &str, arguments: &[Arg<'_>]) -> Answer {
        let call = Call { to, path, method, arguments: arguments.to_vec() };
        self.all(&[call]).remove(0)
    }

    /// Many calls at once; their answers in the same order.
    pub fn all(&mut self, calls: &[Call<'_>]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(calls.len());
        for part in calls.chunks(WINDOW) {
            let serials: Vec<u32> = part.iter().map(|call| self.send(call)).collect();
            for serial in serials {
                let deadline = Instant::now() + PATIENCE;
                let answer = loop {
                    if let Some(answer) = self.answers.remove(&serial) {
                        break answer;
                    }
                    assert!(Instant::now() < deadline, "no answer to {part:?}");
                    let _heard = self.hear(PATIENCE);
                };
                answers.push(answer);
            }
        }
        answers
    }

    /// Hears the signals that fit a match rule from now on.
    pub fn listen(&mut self, rule: &str) {
        let _nothing = self.bus("AddMatch", &[Arg::Text(rule)]);
    }

    /// How many signals have come so far.
    #[must_use]
    pub fn signals(&self) -> u64 {
        self.signals
    }

    /// Waits until more signals have come than `seen`, at most `limit`.
    pub fn wait_signal(&mut self, seen: u64, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.signals <= seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.hear(left) {
                return;
            }
        }
    }

    fn send(&mut self, call: &Call<'_>) -> u32 {
        self.serial += 1;
        let (interface, member) = call.method.rsplit_once('.').unwrap();
        let mut body = Writer::default();
        let mut signature = String::new();
        for argument in &call.arguments {
            signature.push(match argument {
                Arg::Text(text) => {
                    body.text(text);
                    's'
                }
                Arg::Unsigned(number) => {
                    body.number(*number);
                    'u'
                }
                Arg::Signed(number) => {
                    body.number(number.cast_unsigned());
                    'i'
                }
                Arg::VariantFlag(flag) => {
                    body.signature("b");
                    body.number(u32::from(*flag));
                    'v'
                }
            });
        }
        let mut message = Writer::default();
        message.bytes.extend([b'l', 1, 0, 1]);
        message.number(u32::try_from(body.bytes.len()).unwrap());
        message.number(self.serial);
        let mut fields = Writer { bytes: vec![0; 16] };
        let mut field = |code: u8, kind: &str, value: &str| {
            fields.align(8);
            fields.bytes.push(code);
            fields.signature(kind);
            if kind == "g" {
                fields.signature(value);
            } else {
                fields.text(value);
            }
        };
        field(1, "o", call.path);
        field(2, "s", interface);
        field(3, "s", member);
        field(6, "s", call.to);
        if !signature.is_empty() {
            field(8, "g", &signature);
        }
        message.number(u32::try_from(fields.bytes.len() - 16).unwrap());
        message.bytes.extend(&fields.bytes[16..]);
        message.align(8);
        message.bytes.extend(&body.bytes);
        self.stream.write_all(&message.bytes).unwrap();
        self.serial
    }

    /// Takes the next message in, if one comes before `limit` has passed.
    fn hear(&mut self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(length) = message_length(&self.inbox) {
                assert!(length <= MAX_MESSAGE, "a message of {length} bytes");
                if self.inbox.len() >= length {
                    let message: Vec<u8> = self.inbox.drain(..length).collect();
                    self.take(&message);
                    return true;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut part = [0; 65536];
            match self.stream.read(&mut part) {
                Ok(0) => panic!("the bus has closed the connection"),
                Ok(length) => self.inbox.extend_from_slice(&part[..length]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("the bus cannot be read: {error}"),
            }
        }
    }

    fn take(&mut self, message: &[u8]) {
        let mut reader = Reader { bytes: message, at: 12 };
        let fields = reader.value(&mut "a(yv)".chars());
        reader.align(8);
        let field = |code: u64| {
            let found = fields.as_array().unwrap().iter().find(|f| f[0] == code);
            found.map(|f| f[1].clone())
        };
        let signature = field(8).and_then(|s| s.as_str().map(str::to_owned)).unwrap_or_default();
        let mut values = || {
            let mut kinds = signature.chars();
            let mut values = Vec::new();
            while !kinds.as_str().is_empty() {
                values.push(reader.value(&mut kinds));
            }
            values
        };
        let of = || field(5).and_then(|s| s.as_u64()).and_then(|s| u32::try_from(s).ok()).unwrap();
        match message[1] {
            2 => drop(self.answers.insert(of(), Ok(values()))),
            3 => {
                let name = field(4).unwrap_or_default();
                let words = values();
                let _earlier = self.answers.insert(of(), Err(format!("{name} {words:?}")));
            }
            4 => self.signals += 1,
            // Nobody calls a screen reader.
            _ => {}
        }
    }
}

fn open(address: &str) -> UnixStream {
    use std::os::linux::net::SocketAddrExt as _;
    let first = address.split(';').next().unwrap();
    let pairs = first.strip_prefix("unix:").unwrap_or_else(|| panic!("{address} is not a local socket"));
    for pair in pairs.split(',') {
        match pair.split_once('=') {
            Some(("path", path)) => {
                return UnixStream::connect(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            }
            Some(("abstract", name)) => {
                let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
                return UnixStream::connect_addr(&name).unwrap();
            }
            _ => {}
        }
    }
    panic!("{address} names no socket")
}

/// How long the first message of what has come is, once its head is there.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(four)).ok()
    };
    if !bytes.is_empty() {
        assert_eq!(bytes[0], b'l', "the other side is big-endian");
    }
    let (body, fields) = (number(4)?, number(12)?);
    Some(16 + fields.next_multiple_of(8) + body)
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(u32::try_from(text.len()).unwrap());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(u8::try_from(text.len()).unwrap());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        self.align(N.clamp(1, 8));
        let taken = self.bytes[self.at..self.at + N].try_into().unwrap();
        self.at += N;
        taken
    }

    fn text(&mut self, length: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes[self.at..self.at + length]).into_owned();
        self.at += length + 1;
        text
    }

    fn number(&mut self) -> usize {
        usize::try_from(u32::from_le_bytes(self.take())).unwrap()
    }

    /// The value of the next type of a signature.
    fn value(&mut self, kinds: &mut std::str::Chars<'_>) -> Value {
        match kinds.next().unwrap() {
            'y' => self.take::<1>()[0].into(),
            'b' => (self.number() != 0).into(),
            'n' => i16::from_le_bytes(self.take()).into(),
            'q' => u16::from_le_bytes(self.take()).into(),
            'i' => i32::from_le_bytes(self.take()).into(),
            'u' | 'h' => u32::from_le_bytes(self.take()).into(),
            'x' => i64::from_le_bytes(self.take()).into(),
            't' => u64::from_le_bytes(self.take()).into(),
            'd' => f64::from_le_bytes(self.take()).into(),
            's' | 'o' => {
                let length = self.number();
                self.text(length).into()
            }
            'g' => {
                let length = usize::from(self.take::<1>()[0]);
                self.text(length).into()
            }
            'v' => {
                let length = usize::from(self.take::<1>()[0]);
                let kind = self.text(length);
                self.value(&mut kind.chars())
            }
            'a' => {
                let length = self.number();
                let element = kinds.clone();
                skip(kinds);
                self.align(match element.as_str().chars().next() {
                    Some('x' | 't' | 'd' | '(' | '{') => 8,
                    Some('y' | 'g' | 'v') => 1,
                    Some('n' | 'q') => 2,
                    _ => 4,
                });
                let end = self.at + length;
                let mut items = Vec::new();
                while self.at < end {
                    items.push(self.value(&mut element.clone()));
                }
                items.into()
            }
            '(' | '{' => {
                self.align(8);
                let mut items = Vec::new();
                while !kinds.as_str().starts_with([')', '}']) {
                    items.push(self.value(kinds));
                }
                let _end = kinds.next();
                items.into()
            }
            other => panic!("no such type: {other}"),
        }
    }
}

/// Passes over one complete type.
fn skip(kinds: &mut std::str::Chars<'_>) {
    match kinds.next() {
        Some('a') => skip(kinds),
        Some('(' | '{') => {
            while !kinds.as_str().starts_with([')', '}']) {
                skip(kinds);
            }
            let _end = kinds.next();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_their_signature() {
        let mut writer = Writer::default();
        writer.number(0);
        writer.text("a");
        writer.align(8);
        let start = writer.bytes.len();
        writer.text("path");
        writer.align(4);
        writer.bytes.extend((-3i32).to_le_bytes());
        let length = u32::try_from(writer.bytes.len() - start).unwrap();
        writer.bytes[..4].copy_from_slice(&length.to_le_bytes());
        // An array whose length stands before the text between: read it as the parts that it has.
        let mut reader = Reader { bytes: &writer.bytes, at: 4 };
        assert_eq!(reader.value(&mut "s".chars()), "a");
        assert_eq!(reader.value(&mut "(oi)".chars()), serde_json::json!(["path", -3]));
        let mut kinds = "a{s(iv)}u".chars();
        skip(&mut kinds);
        assert_eq!(kinds.as_str(), "u");
    }
}
