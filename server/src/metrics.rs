//! Counters for Prometheus, on an address of their own.
//!
//! What http/ and engine/ use of it (server-core relies on these names):
//! ```ignore
//! pub struct Metrics;  // atomics only
//! impl Metrics {
//!     pub fn request(&self, route: &'static str, status: u16, took: Duration);
//!     pub fn commit(&self, batch: usize, took: Duration);
//!     pub fn render(&self) -> String;
//! }
//! pub async fn serve(listener: tokio::net::TcpListener, metrics: Arc<Metrics>);
//! ```
