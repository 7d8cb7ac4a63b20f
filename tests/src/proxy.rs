//! Stands before an activation server, at an address that stays while servers come and go: forwards, records every
//! byte, and lets everything go wrong that can go wrong on a network.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http::{Client, Reply, Seen, read_request};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It reaches the server, and the answer comes back.
    Forward,
    /// Nobody listens.
    Refuse,
    /// It is taken and never answered.
    BlackHole,
    /// An answer comes, one byte a second, for ever.
    Drip,
    /// The server's answer is cut in its middle.
    CutBody,
    /// The server does what is asked, but its answer is lost.
    LoseAnswer,
    /// An error of some machine in between, with its page.
    Status(u16),
    /// A page, with status 200: a hotel's network wants a password.
    Html,
    /// An answer without end.
    Endless,
    /// Go elsewhere.
    Redirect(String),
}

#[derive(Debug)]
struct State {
    mode: Mode,
    upstream: Option<SocketAddr>,
    source: Option<IpAddr>,
    open: Vec<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    seen: Mutex<Vec<u8>>,
    plaintexts: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<String>>,
}

/// The proxy. Ends with the test's process.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Proxy {
    /// Listens on a random port of loopback.
    #[must_use]
    pub fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = State { mode: Mode::Forward, upstream: None, source: None, open: Vec::new() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            seen: Mutex::new(Vec::new()),
            plaintexts: Mutex::default(),
            requests: Mutex::default(),
        });
        let proxy = Self { shared, address };
        let accepting = proxy.clone();
        std::thread::spawn(move || accepting.accept(listener, tls.as_ref()));
        proxy
    }

    /// Where the server is now, if it runs.
    pub fn set_upstream(&self, address: Option<SocketAddr>) {
        self.shared.state.lock().unwrap().upstream = address;
    }

    /// The address that the server sees requests come from, which is one of this computer's.
    pub fn set_source(&self, address: IpAddr) {
        self.shared.state.lock().unwrap().source = Some(address);
    }

    /// From now on this happens. Open connections are closed.
    pub fn set_mode(&self, mode: Mode) {
        let mut state = self.shared.state.lock().unwrap();
        state.mode = mode;
        for stream in state.open.drain(..) {
            let _gone = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener, which looks at the mode again; when it has gone already, nobody needs waking.
        let _refused = TcpStream::connect(self.address);
    }

    fn mode(&self) -> Mode {
        self.shared.state.lock().unwrap().mode.clone()
    }

    /// Every byte that passed, both ways.
    #[must_use]
    pub fn seen(&self) -> Vec<u8> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What each connection brought, in the order in which they ended; the calls that only wake the listener are empty.
    #[must_use]
    pub fn plaintexts(&self) -> Vec<Vec<u8>> {
        self.shared.plaintexts.lock().unwrap().clone()
    }

    /// The paths of all requests that arrived, in their order.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many requests arrived.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.lock().unwrap().len() as u64
    }

    fn record(&self, bytes: &[u8]) {
        self.shared.seen.lock().unwrap().extend_from_slice(bytes);
    }

    fn accept(&self, mut listener: TcpListener, tls: Option<&Arc<ServerConfig>>) {
        loop {
            let Ok((stream, _)) = listener.accept() else { return };
            if self.mode() == Mode::Refuse {
                drop(stream);
                drop(listener);
                let state = self.shared.state.lock().unwrap();
                drop(self.shared.changed.wait_while(state, |s| s.mode == Mode::Refuse).unwrap());
                listener = TcpListener::bind(self.address).unwrap();
                continue;
            }
            stream.set_nodelay(true).unwrap();
            let mut state = self.shared.state.lock().unwrap();
            state.open.push(stream.try_clone().unwrap());
            drop(state);
            let proxy = self.clone();
            let tls = tls.cloned();
            let end = stream.try_clone().unwrap();
            std::thread::spawn(move || {
                // Whatever goes wrong on a connection is what the test is about.
                let _ended = match tls {
                    Some(config) => {
                        let session = ServerConnection::new(config).unwrap();
                        proxy.connection(StreamOwned::new(session, stream))
                    }
                    None => proxy.connection(stream),
                };
                // The list of open connections has a copy: hanging up needs more than dropping ours.
                let _gone = end.shutdown(Shutdown::Both);
            });
        }
    }

    fn connection(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut stream = BufReader::new(Recorder { inner: stream, proxy: self, bytes: Vec::new() });
        let mut server: Option<(SocketAddr, Client)> = None;
        loop {
            let request = read_request(&mut stream)?;
            self.shared.requests.lock().unwrap().push(request.path.clone());
            let out = &mut stream.get_mut().inner;
            match self.mode() {
                Mode::Forward => {
                    let reply = self.forward(&mut server, &request)?;
                    out.write_all(&encode(&reply, reply.body.len()))?;
                    out.write_all(&reply.body)?;
                    out.flush()?;
                }
                Mode::Refuse => return Ok(()),
                Mode::BlackHole => self.wait_for_another(&Mode::BlackHole, None),
                Mode::Drip => {
                    out.write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n",
                    )?;
                    while self.mode() == Mode::Drip {
                        out.write_all(b" ")?;
                        out.flush()?;
                        self.wait_for_another(&Mode::Drip, Some(Duration::from_secs(1)));
                    }
                    return Ok(());
                }
                Mode::CutBody => {
                    let reply = self.forward(&mut server, &request)?;
                    out.write_all(&encode(&reply, reply.body.len()))?;
                    out.write_all(&reply.body[..reply.body.len() / 2])?;
                    out.flush()?;
                    return Ok(());
                }
                Mode::LoseAnswer => {
                    self.forward(&mut server, &request)?;
                    return Ok(());
                }
                Mode::Status(status) => {
                    let page = "<html><body><h1>Bad gateway</h1></body></html>";
                    let length = page.len();
                    write!(
                        out,
                        "HTTP/1.1 {status} X\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
                    )?;
                    out.flush()?;
                }
                Mode::Html => {
                    let page = "<!doctype html><title>Welcome to Hotel Wi-Fi</title><p>Please log in.";
                    let length = page.len();
                    write!(
                        out,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"
                    )?;
                    out.flush()?;
                }
                Mode::Endless => {
                    out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    let chunk = [b"10000\r\n".as_slice(), &[b' '; 65536], b"\r\n"].concat();
                    while self.mode() == Mode::Endless {
                        out.write_all(&chunk)?;
                    }
                    return Ok(());
                }
                Mode::Redirect(to) => {
                    write!(
                        out,
                        "HTTP/1.1 307 X\r\nLocation: {to}{}\r\nContent-Length: 0\r\n\r\n",
                        request.path
                    )?;
                    out.flush()?;
                }
            }
        }
    }

    fn wait_for_another(&self, mode: &Mode, limit: Option<Duration>) {
        let state = self.shared.state.lock().unwrap();
        let limit = limit.unwrap_or(Duration::from_secs(600));
        drop(self.shared.changed.wait_timeout_while(state, limit, |s| s.mode == *mode).unwrap());
    }

    fn forward(&self, server: &mut Option<(SocketAddr, Client)>, request: &Seen) -> io::Result<Reply> {
        let (upstream, source) = {
            let state = self.shared.state.lock().unwrap();
            (state.upstream.ok_or(io::ErrorKind::ConnectionRefused)?, state.source)
        };
        if server.as_ref().is_none_or(|(address, _)| *address != upstream) {
            let client = match source {
                Some(source) => Client::try_connect_from(source, upstream)?,
                None => Client::try_connect(upstream)?,
            };
            *server = Some((upstream, client));
        }
        let Some((_, client)) = server else { return Err(io::ErrorKind::NotConnected.into()) };
        let body = String::from_utf8_lossy(&request.body).into_owned();
        let body = (request.method != "GET").then_some(body.as_str());
        let reply = client.try_exchange(&request.method, &request.path, body)?;
        self.record(&encode(&reply, reply.body.len()));
        self.record(&reply.body);
        Ok(reply)
    }
}

/// The head of a reply, with the length that its body will have.
fn encode(reply: &Reply, length: usize) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} X\r\nContent-Length: {length}\r\n", reply.status);
    for (name, value) in &reply.headers {
        if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            head += &format!("{name}: {value}\r\n");
        }
    }
    head += "\r\n";
    head.into_bytes()
}

/// Keeps what is read through it.
struct Recorder<'a, S> {
    inner: S,
    proxy: &'a Proxy,
    bytes: Vec<u8>,
}

impl<S> Drop for Recorder<'_, S> {
    fn drop(&mut self) {
        self.proxy.shared.plaintexts.lock().unwrap().push(std::mem::take(&mut self.bytes));
    }
}

impl<S: Read> Read for Recorder<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.proxy.record(&buffer[..length]);
        self.bytes.extend_from_slice(&buffer[..length]);
        Ok(length)
    }
}

/// An address that takes no connection and refuses none: the queue of its listener is full. Lives as long as the value.
#[derive(Debug)]
pub struct FullQueue {
    /// The address.
    pub address: SocketAddr,
    _listener: std::os::fd::OwnedFd,
    _waiting: Vec<std::os::fd::OwnedFd>,
}

impl FullQueue {
    /// Fills the queue of a listener.
    #[must_use]
    pub fn new() -> Self {
        use rustix::net::{
            AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with,
        };
        let tcp = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        let listener = tcp(SocketFlags::CLOEXEC);
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address: SocketAddr = getsockname(&listener).unwrap().try_into().unwrap();
        let waiting = (0..16)
            .map(|_| {
                let stream = tcp(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
                let _in_progress = connect(&stream, &address);
                stream
            })
            .collect();
        Self { address, _listener: listener, _waiting: waiting }
    }
}

impl Default for FullQueue {
    fn default() -> Self {
        Self::new()
    }
}
