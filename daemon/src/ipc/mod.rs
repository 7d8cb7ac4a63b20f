//! The local socket: accepts clients, keeps their number bounded, and serves each in a task of its own.
//!
//! `zlink` reads the frames; its own server is not used, because each wake-up of it looks at every connection, and
//! because it would buffer 100 MB for a peer. Its writer is not used either: it serializes a long reply anew for every
//! 256 bytes that it lacks.

mod call;
mod dispatch;
mod frame;
mod registry;

use std::io;
use std::rc::Rc;

pub use registry::Caps;
use registry::Registry;

use crate::engine::Engine;
use crate::platform::{Connection, Listener, Peer};

/// Serves clients until the future is dropped; connections end with it.
///
/// Never returns: when descriptors run out, idle clients make room.
pub async fn serve(engine: Rc<Engine>, listener: Listener, caps: Caps) {
    let registry = Rc::new(Registry::new(caps));
    loop {
        match listener.accept().await {
            Ok(connection) => admit(&engine, &registry, connection),
            Err(e) => {
                tracing::warn!(error = %e, "a client could not be accepted");
                if !out_of_resources(&e) {
                    // The client went away again, or the like: the next one may do better.
                    tokio::task::yield_now().await;
                } else if registry.evict_some(16) == 0 {
                    registry.freed().await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

fn out_of_resources(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

fn admit(engine: &Rc<Engine>, registry: &Rc<Registry>, connection: Connection) {
    let peer = match Peer::of(&connection) {
        Ok(peer) => peer,
        Err(e) => {
            tracing::warn!(error = %e, "a client without an identity was turned away");
            return;
        }
    };
    let engine = engine.clone();
    registry.admit(peer.account(), move |seat| async move {
        let mut session = dispatch::Session::new(engine, peer, connection, seat);
        session.run().await;
    });
}
