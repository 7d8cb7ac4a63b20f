//! Connections and requests out of what a [`crate::netwatch::NetWatch`] has seen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use data_encoding::HEXLOWER;

/// What one side of a connection sent, from its first byte on.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Capture {
    /// Every frame as it was.
    pub frames: Vec<Vec<u8>>,
    /// The sides of all connections, in the order in which they began.
    pub streams: Vec<Stream>,
}

/// A request as it was on the wire.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its head, with the empty line behind it.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Request {
    /// Method and path.
    #[must_use]
    pub fn what(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap(), words.next().unwrap())
    }

    /// The names of its headers, in their order.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

impl Capture {
    /// Reads the lines that the watch wrote.
    #[must_use]
    pub fn of(lines: &str) -> Self {
        let frames: Vec<Vec<u8>> =
            lines.lines().map(|line| HEXLOWER.decode(line.as_bytes()).unwrap()).collect();
        let mut order: Vec<(SocketAddr, SocketAddr, u32)> = Vec::new();
        let mut open: BTreeMap<(SocketAddr, SocketAddr), usize> = BTreeMap::new();
        let mut parts: Vec<BTreeMap<u32, Vec<u8>>> = Vec::new();
        for segment in frames.iter().filter_map(|frame| segment(frame)) {
            let key = (segment.from, segment.to);
            // Loopback shows every packet twice: the second SYN with the same number begins nothing new.
            let known = open.get(&key).copied();
            if segment.begins && known.is_none_or(|at| order[at].2 != segment.number) {
                open.insert(key, order.len());
                order.push((segment.from, segment.to, segment.number));
                parts.push(BTreeMap::new());
            } else if let Some(at) = known
                && !segment.bytes.is_empty()
            {
                let offset = segment.number.wrapping_sub(order[at].2).wrapping_sub(1);
                let kept = parts[at].entry(offset).or_default();
                if kept.len() < segment.bytes.len() {
                    *kept = segment.bytes;
                }
            }
        }
        let streams = order.into_iter().zip(parts).map(|((from, to, _), parts)| {
            let mut bytes = Vec::new();
            for (offset, part) in parts {
                let offset = offset as usize;
                assert!(offset <= bytes.len(), "a packet from {from} to {to} was not seen");
                if offset + part.len() > bytes.len() {
                    bytes.truncate(offset);
                    bytes.extend(part);
                }
            }
            Stream { from, to, bytes }
        });
        let streams = streams.collect();
        Self { frames, streams }
    }

    /// The connections that were made to an address: what their clients sent.
    pub fn sent_to(&self, address: SocketAddr) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |stream| stream.to == address && !stream.bytes.is_empty())
    }
}

impl Stream {
    /// The one request in it.
    ///
    /// # Panics
    /// When there is more or less than one.
    #[must_use]
    pub fn request(&self) -> Request {
        Request::of(&self.bytes)
    }
}

impl Request {
    /// Reads bytes that are exactly one request.
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no request: {text}"));
        let request = Self { head: format!("{head}\r\n\r\n"), body: body.to_owned() };
        let length = request.head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |n| n.trim().parse().unwrap());
        assert_eq!(request.body.len(), length, "one connection, one request: {text}");
        request
    }
}

struct Segment {
    from: SocketAddr,
    to: SocketAddr,
    number: u32,
    begins: bool,
    bytes: Vec<u8>,
}

/// The TCP segment in an Ethernet frame, if there is one.
fn segment(frame: &[u8]) -> Option<Segment> {
    let packet = frame.get(14..)?;
    let (from, to, payload): (IpAddr, IpAddr, &[u8]) = match (frame.get(12..14)?, packet.first()? >> 4) {
        ([0x08, 0x00], 4) if *packet.get(9)? == 6 => {
            let header = usize::from(packet[0] & 15) * 4;
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            let address = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).ok().map(Ipv4Addr::from);
            (address(12)?.into(), address(16)?.into(), packet.get(header..length)?)
        }
        ([0x86, 0xdd], 6) if *packet.get(6)? == 6 => {
            let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
            let address = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).ok().map(Ipv6Addr::from);
            (address(8)?.into(), address(24)?.into(), packet.get(40..40 + length)?)
        }
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
    let header = usize::from(payload.get(12)? >> 4) * 4;
    Some(Segment {
        from: SocketAddr::new(from, port(0)?),
        to: SocketAddr::new(to, port(2)?),
        number: u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?),
        begins: payload.get(13)? & 2 != 0,
        bytes: payload.get(header..)?.to_vec(),
    })
}
