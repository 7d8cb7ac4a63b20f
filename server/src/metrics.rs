//! Counters for Prometheus, on an address of their own. No label ever holds anything about a person, a machine or a
//! license: routes are patterns, codes are HTTP statuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::get;

/// Upper bounds of latency buckets in seconds.
const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of batch sizes.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// All counters. Updating one takes no lock that another update waits for.
#[derive(Debug)]
pub struct Metrics {
    requests: RwLock<BTreeMap<(&'static str, u16), AtomicU64>>,
    latency: RwLock<BTreeMap<&'static str, Histogram>>,
    batch: Histogram,
    commit: Histogram,
    routes: RwLock<BTreeSet<&'static str>>,
    queue: AtomicU64,
    rate_limited: AtomicU64,
    telemetry: RwLock<BTreeMap<(&'static str, &'static str), AtomicU64>>,
    security_log_dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [f64],
    /// One more than bounds: the last one counts what is above them all.
    counts: Vec<AtomicU64>,
    /// In millionths, so that it can be added to atomically.
    sum_millionths: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_millionths: AtomicU64::new(0) }
    }

    fn add(&self, value: f64, millionths: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.counts[at].fetch_add(1, Relaxed);
        self.sum_millionths.fetch_add(millionths, Relaxed);
    }

    fn time(&self, took: Duration) {
        self.add(took.as_secs_f64(), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn render(&self, out: &mut String, name: &str, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let mut total = 0;
        for (at, count) in self.counts.iter().enumerate() {
            total += count.load(Relaxed);
            let bound = self.bounds.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
        }
        let millionths = self.sum_millionths.load(Relaxed);
        let _ = writeln!(out, "{name}_sum{braced} {}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        let _ = writeln!(out, "{name}_count{braced} {total}");
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Metrics {
    /// All zero. `security_log_dropped` is the security log's own counter.
    #[must_use]
    pub fn new(security_log_dropped: Arc<AtomicU64>) -> Self {
        Self {
            requests: RwLock::default(),
            latency: RwLock::default(),
            batch: Histogram::new(SIZES),
            commit: Histogram::new(SECONDS),
            routes: RwLock::default(),
            queue: AtomicU64::new(0),
            rate_limited: AtomicU64::new(0),
            telemetry: RwLock::default(),
            security_log_dropped,
        }
    }

    /// A request was answered. `route` is its pattern, as `/v1/activate`.
    pub fn request(&self, route: &'static str, status: u16, took: Duration) {
        with_entry(&self.requests, (route, status), AtomicU64::default, |n| n.fetch_add(1, Relaxed));
        with_entry(&self.latency, route, || Histogram::new(SECONDS), |h| h.time(took));
    }

    /// `batch` changes were committed together.
    pub fn commit(&self, batch: usize, took: Duration) {
        let size = u32::try_from(batch).unwrap_or(u32::MAX);
        self.batch.add(f64::from(size), u64::from(size) * 1_000_000);
        self.commit.time(took);
    }

    /// `waiting` changes wait for the next commit.
    pub fn queued(&self, waiting: usize) {
        self.queue.store(u64::try_from(waiting).unwrap_or(u64::MAX), Relaxed);
    }

    /// A request was refused because of too many wrong proofs.
    pub fn rate_limited(&self) {
        self.rate_limited.fetch_add(1, Relaxed);
    }

    /// A usage report or a request for tokens was answered. Both words are the program's own: of what was sent, nothing
    /// comes here.
    pub fn telemetry(&self, what: &'static str, outcome: &'static str) {
        with_entry(&self.telemetry, (what, outcome), AtomicU64::default, |n| n.fetch_add(1, Relaxed));
    }

    /// The one copy of a route's pattern. Patterns are part of the program, so few that keeping each for ever is cheaper
    /// than counting its users.
    fn route(&self, pattern: &str) -> &'static str {
        if let Some(known) = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
            return known;
        }
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = routes.get(pattern) {
            return known;
        }
        let kept: &'static str = Box::leak(pattern.into());
        routes.insert(kept);
        kept
    }

    /// Everything in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::with_capacity(8 * 1024);
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        let name = "claviger_build_info";
        head(&mut out, name, "gauge", "The server's version.");
        let _ = writeln!(out, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        let name = "claviger_requests_total";
        head(&mut out, name, "counter", "Requests answered, by route and HTTP status.");
        for ((route, code), count) in self.requests.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let n = count.load(Relaxed);
            let _ = writeln!(out, "{name}{{route=\"{}\",code=\"{code}\"}} {n}", escaped(route));
        }
        let name = "claviger_request_seconds";
        head(&mut out, name, "histogram", "Time from a request's head to its answer, by route.");
        for (route, histogram) in self.latency.read().unwrap_or_else(PoisonError::into_inner).iter() {
            histogram.render(&mut out, name, &format!("route=\"{}\"", escaped(route)));
        }
        let name = "claviger_telemetry_total";
        head(&mut out, name, "counter", "Usage reports and token requests answered, by what became of them.");
        for ((what, outcome), n) in self.telemetry.read().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ = writeln!(out, "{name}{{what=\"{what}\",outcome=\"{outcome}\"}} {}", n.load(Relaxed));
        }
        head(&mut out, "claviger_commit_batch_size", "histogram", "Changes that were committed together.");
        self.batch.render(&mut out, "claviger_commit_batch_size", "");
        head(&mut out, "claviger_commit_seconds", "histogram", "Time that a commit took.");
        self.commit.render(&mut out, "claviger_commit_seconds", "");
        for (name, kind, help, value) in [
            ("claviger_commit_queue", "gauge", "Changes that wait for a commit.", self.queue.load(Relaxed)),
            (
                "claviger_rate_limited_total",
                "counter",
                "Requests refused after too many wrong proofs.",
                self.rate_limited.load(Relaxed),
            ),
            (
                "claviger_security_log_dropped_total",
                "counter",
                "Entries that the security log lost because the disk could not follow.",
                self.security_log_dropped.load(Relaxed),
            ),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        out
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn with_entry<K: Ord + Copy, V, R>(
    map: &RwLock<BTreeMap<K, V>>,
    key: K,
    make: impl FnOnce() -> V,
    update: impl FnOnce(&V) -> R,
) -> R {
    if let Some(value) = map.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return update(value);
    }
    update(map.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(make))
}

/// Counts the requests that pass through it by their route's pattern; for a router's `layer`. What matches no route
/// counts as `other`, so that a stranger's paths cannot fill the memory.
pub async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route =
        request.extensions().get::<MatchedPath>().map_or("other", |path| metrics.route(path.as_str()));
    let started = std::time::Instant::now();
    let response = next.run(request).await;
    metrics.request(route, response.status().as_u16(), started.elapsed());
    response
}

/// Serves `GET /metrics` until the task is dropped. The address is the vendor's to protect: loopback unless set
/// otherwise.
///
/// # Errors
/// Those of the listener.
pub async fn serve(listener: tokio::net::TcpListener, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let page = move || {
        let text = metrics.render();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    axum::serve(listener, Router::new().route("/metrics", get(page))).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let dropped = Arc::new(AtomicU64::new(7));
        let metrics = Metrics::new(dropped);
        metrics.request("/v1/activate", 200, Duration::from_micros(700));
        metrics.request("/v1/activate", 200, Duration::from_secs(60));
        metrics.request("/v1/activate", 409, Duration::from_millis(3));
        metrics.commit(3, Duration::from_millis(2));
        metrics.queued(3);
        metrics.rate_limited();
        metrics.telemetry("report", "token_spent");
        let text = metrics.render();
        for line in [
            "claviger_requests_total{route=\"/v1/activate\",code=\"200\"} 2",
            "claviger_request_seconds_bucket{route=\"/v1/activate\",le=\"0.0005\"} 0",
            "claviger_request_seconds_bucket{route=\"/v1/activate\",le=\"0.001\"} 1",
            "claviger_request_seconds_bucket{route=\"/v1/activate\",le=\"10\"} 2",
            "claviger_request_seconds_bucket{route=\"/v1/activate\",le=\"+Inf\"} 3",
            "claviger_request_seconds_sum{route=\"/v1/activate\"} 60.003700",
            "claviger_request_seconds_count{route=\"/v1/activate\"} 3",
            "claviger_commit_batch_size_bucket{le=\"4\"} 1",
            "claviger_commit_batch_size_sum 3.000000",
            "claviger_commit_seconds_count 1",
            "claviger_commit_queue 3",
            "claviger_rate_limited_total 1",
            "claviger_telemetry_total{what=\"report\",outcome=\"token_spent\"} 1",
            "claviger_security_log_dropped_total 7",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis missing in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_layer_counts_by_pattern_and_not_by_path() {
        use tower_service::Service as _;
        let metrics = Arc::new(Metrics::default());
        let mut router = Router::new()
            .route("/v1/admin/licenses/{serial}", get(|| async { "" }))
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&metrics), count));
        for path in ["/v1/admin/licenses/EXA-1", "/v1/admin/licenses/EXA-2", "/a", "/b"] {
            let request = Request::builder().uri(path).body(axum::body::Body::empty()).unwrap();
            router.call(request).await.unwrap();
        }
        let text = metrics.render();
        assert!(text.contains("{route=\"/v1/admin/licenses/{serial}\",code=\"200\"} 2"), "{text}");
        assert!(text.contains("{route=\"other\",code=\"404\"} 2") && !text.contains("EXA-"), "{text}");
    }

    #[tokio::test]
    async fn metrics_are_served_over_http() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Arc::default()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("claviger_build_info"), "{answer}");
        server.abort();
    }
}
