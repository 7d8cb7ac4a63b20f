//! A small blocking HTTP/1.1 client and server, so that tests see and send every byte themselves.

use std::io::{BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use serde_json::Value;

/// A connection that is kept between requests.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{}: {e}: {}", self.status, String::from_utf8_lossy(&self.body)))
    }

    /// The problem code of a refusal; empty when there is none.
    #[must_use]
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    /// Connects.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|e| panic!("{address}: {e}"))
    }

    /// The same, for a server that may be gone.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Self::over(TcpStream::connect(address)?, address)
    }

    /// The same from an address of the test's choice, which is one of this computer's.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn try_connect_from(from: IpAddr, address: SocketAddr) -> std::io::Result<Self> {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
        let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &address)?;
        Self::over(TcpStream::from(socket), address)
    }

    fn over(stream: TcpStream, address: SocketAddr) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(crate::process::PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream), address })
    }

    /// `GET path`.
    pub fn get(&mut self, path: &str) -> Reply {
        self.exchange("GET", path, None)
    }

    /// `POST path` with a JSON body.
    pub fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.exchange("POST", path, Some(&body.to_string()))
    }

    /// Sends a signed request to its endpoint.
    pub fn send(&mut self, endpoint: &str, request: &str) -> Reply {
        self.post(&format!("/v1/{endpoint}"), &serde_json::json!({ "request": request }))
    }

    fn exchange(&mut self, method: &str, path: &str, body: Option<&str>) -> Reply {
        self.try_exchange(method, path, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// The same, for a server that may be killed meanwhile.
    ///
    /// # Errors
    /// Of the connection.
    pub fn try_exchange(&mut self, method: &str, path: &str, body: Option<&str>) -> std::io::Result<Reply> {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(body) = body {
            text +=
                &format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        } else {
            text += "\r\n";
        }
        self.stream.get_mut().write_all(text.as_bytes())?;
        read_reply(&mut self.stream)
    }
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}

fn read_line(stream: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn read_headers(stream: &mut impl std::io::BufRead) -> std::io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(stream: &mut impl std::io::BufRead, headers: &[(String, String)]) -> std::io::Result<Vec<u8>> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        loop {
            let size = usize::from_str_radix(&read_line(stream)?, 16).map_err(|_| bad("a bad chunk"))?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..])?;
            read_line(stream)?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    let length = header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
    body.resize(length, 0);
    stream.read_exact(&mut body)?;
    Ok(body)
}

fn read_reply(stream: &mut impl std::io::BufRead) -> std::io::Result<Reply> {
    let line = read_line(stream)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|s| s.parse().ok())
        .ok_or_else(|| bad("no status in the first line"))?;
    let headers = read_headers(stream)?;
    let body = read_body(stream, &headers)?;
    Ok(Reply { status, headers, body })
}

/// A request as a server of ours sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// Answers every request with what `answer` gives: a status and a body. Runs until the process ends.
pub fn serve(answer: impl Fn(&Seen) -> (u16, String) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                // A client that hangs up in the middle is none of our business.
                let _closed = serve_connection(stream, &*answer);
            });
        }
    });
    address
}

/// Reads one request.
///
/// # Errors
/// Of the connection, its end included.
pub fn read_request(stream: &mut impl std::io::BufRead) -> std::io::Result<Seen> {
    let line = read_line(stream)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = read_headers(stream)?;
    let body = read_body(stream, &headers)?;
    Ok(Seen { method, path, body })
}

fn serve_connection(
    stream: TcpStream,
    answer: &(impl Fn(&Seen) -> (u16, String) + ?Sized),
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let request = read_request(&mut stream)?;
        let (status, text) = answer(&request);
        let kind = if status == 200 { "application/json" } else { "application/problem+json" };
        let head =
            format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", text.len());
        stream.get_mut().write_all(head.as_bytes())?;
        stream.get_mut().write_all(text.as_bytes())?;
    }
}
