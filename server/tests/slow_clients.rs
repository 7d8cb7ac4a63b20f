//! Clients that are slow, silent or many: each is bounded, and the others are served.
#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]
#![cfg(target_os = "linux")] // the only system where all of 127.0.0.0/8 is there to call from

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use claviger_server::http::Limits;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const HEALTH: &[u8] = b"GET /v1/health HTTP/1.1\r\nhost: x\r\n\r\n";
const HALF_BODY: &[u8] = b"POST /v1/activate HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
    content-type: application/json\r\ncontent-length: 1000\r\n\r\n{";

/// A connection from an address of this machine's own choice.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// One exchange on a connection that is kept.
async fn healthy(stream: &mut TcpStream) -> bool {
    if stream.write_all(HEALTH).await.is_err() {
        return false;
    }
    let mut buffer = [0; 1024];
    matches!(stream.read(&mut buffer).await, Ok(n) if buffer[..n].starts_with(b"HTTP/1.1 200"))
}

/// What still comes until the server hangs up.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let _reset = stream.read_to_end(&mut said).await;
    said
}

#[tokio::test]
async fn slow_heads_slow_bodies_and_silence_end_by_themselves() {
    let time = Duration::from_secs(4);
    let server = TestServer::limited(Limits { head: time, body: time, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut head = TcpStream::connect(server.address).await.unwrap();
    head.write_all(b"POST /v1/activate HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let mut body = TcpStream::connect(server.address).await.unwrap();
    body.write_all(HALF_BODY).await.unwrap();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert!(healthy(&mut idle).await);
    // Meanwhile the others are served.
    for _ in 0..3 {
        assert_eq!(exchange(server.address, "GET", "/v1/health", &[], b"").await.status, 200);
    }
    for stream in [&mut silent, &mut head, &mut idle] {
        let said = rest(stream).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    }
    let said = String::from_utf8(rest(&mut body).await).unwrap();
    assert!(said.contains("HTTP/1.1 400") && said.contains("did not arrive in time"), "{said}");
    assert_eq!(exchange(server.address, "GET", "/v1/health", &[], b"").await.status, 200);
}

#[tokio::test]
async fn an_address_with_many_connections_keeps_nobody_out() {
    let server = TestServer::limited(Limits { connections: 8, ..Limits::default() }).await;
    let mut many = Vec::new();
    for _ in 0..20 {
        let mut stream = from("127.0.0.2", server.address).await;
        assert!(healthy(&mut stream).await, "the newest is served");
        many.push(stream);
    }
    let mut other = from("127.0.0.3", server.address).await;
    assert!(healthy(&mut other).await, "another address has its share");
    // A quarter of eight is left to the first: the newest two.
    for stream in &mut many[..18] {
        assert!(rest(stream).await.is_empty(), "cut");
    }
    for stream in &mut many[18..] {
        assert!(healthy(stream).await);
    }
    // Requests in flight are not cut for more of the same.
    for stream in &mut many[18..] {
        stream.write_all(HALF_BODY).await.unwrap();
        let mut said = [0; 25];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n", "the server waits for the body");
    }
    assert!(!healthy(&mut from("127.0.0.2", server.address).await).await);
    assert!(healthy(&mut other).await);
    assert!(healthy(&mut from("127.0.0.4", server.address).await).await);
}

#[tokio::test]
async fn two_hundred_machines_behind_one_address_are_served_at_once() {
    let server = TestServer::new().await;
    let mut lab = Vec::new();
    for _ in 0..200 {
        lab.push(from("127.0.0.2", server.address).await);
    }
    for stream in &mut lab {
        assert!(healthy(stream).await);
    }
    for stream in &mut lab {
        assert!(healthy(stream).await, "the first are still there");
    }
}
