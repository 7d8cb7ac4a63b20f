//! The OpenAPI 3.1 description, generated from the handlers and served at `/v1/openapi.json`.

use axum::Json;
use axum::http::header;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};

use super::{admin, exchange, portal, public, telemetry, usage_page};

/// A signed request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestBody {
    /// A `claviger-request+jws` in compact form; docs/protocol.md describes its content.
    request: String,
}

/// A signed answer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct AnswerBody {
    /// A `claviger-answer+jws` in compact form.
    answer: String,
}

/// The current keyset.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct KeysetBody {
    /// A `claviger-keyset+jws` in compact form.
    keyset: String,
    /// A `claviger-sunset+jws`, once the vendor has published one.
    sunset: Option<String>,
}

/// The current catalogue.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct ManifestBody {
    /// A `claviger-manifest+jws` in compact form.
    manifest: String,
}

/// The server works.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct HealthBody {
    /// `ok`.
    status: String,
    /// The server's version.
    version: String,
    /// Its epoch: rises when a backup is restored.
    epoch: u64,
}

/// What people are asked with.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct NoticeBody {
    /// The notice in force, a `claviger-notice+jws` in compact form.
    notice: String,
    /// The next one, once it is announced.
    next: Option<String>,
}

/// Plans of usage statistics.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct PlanBody {
    /// Each a `claviger-plan+jws` in compact form, by their weeks.
    plans: Vec<String>,
}

/// A batch of blind tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct TokensBody {
    /// 32 evaluated elements, base64url.
    elements: Vec<String>,
    /// The proof over the whole batch, base64url.
    proof: String,
}

/// One title, one week; compact JSON in this order, padded with spaces to 512 bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UsageReport {
    /// 1.
    schema: u8,
    /// The ISO week, as 2026-W48.
    week: String,
    /// A title of the plan.
    product_id: String,
    /// A version of the plan, or `other`.
    product_version: String,
    /// A DAW of the plan, or `other`.
    daw: String,
    /// `1`, `2-4`, `5-9`, `10-19`, `20-49` or `50+`.
    uses: String,
    /// A token of that week, base64url.
    token: String,
}

/// Usage statistics of closed weeks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct UsageStatistics {
    /// The closed weeks.
    weeks: Vec<String>,
    /// Installations that reported a title, by week.
    titles: Vec<UsageTitle>,
    /// Reports by title and version.
    versions: Vec<UsageShare>,
    /// Reports by DAW.
    daws: Vec<UsageShare>,
    /// Reports by bucket of uses.
    uses: Vec<UsageShare>,
    /// The published cells.
    cells: Vec<UsageCell>,
}

/// A title through the weeks.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct UsageTitle {
    /// Its id.
    product_id: String,
    /// One figure a week.
    reports: Vec<u64>,
}

/// One name and its reports.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct UsageShare {
    /// For versions: of which title.
    product_id: Option<String>,
    /// The version, DAW or bucket, or `other`.
    name: String,
    /// Reports.
    reports: u64,
}

/// A published cell.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct UsageCell {
    /// The week.
    week: String,
    /// The title.
    product_id: String,
    /// Its version, or `other`.
    product_version: String,
    /// The DAW, or `other`.
    daw: String,
    /// The bucket, or `other`.
    uses: String,
    /// Reports: 20 or more.
    reports: u64,
}

/// A refusal, as RFC 9457 wants it (`application/problem+json`).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:claviger:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The stable code.
    code: String,
    /// What happened, in one line.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened here in particular, and what to do.
    detail: Option<String>,
    /// Who holds the seats; told only after the unlock code was proved.
    seats: Option<Seats>,
    /// For `bad_document`: the document's own error code.
    document: Option<String>,
}

/// The seats of a license.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Seats {
    /// How many there are.
    total: u32,
    /// Who holds them.
    holders: Vec<SeatHolder>,
}

/// A machine that holds a seat.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct SeatHolder {
    /// Its id.
    machine_id: String,
    /// Its name.
    device_name: String,
    /// Since when; seconds since 1970.
    since: i64,
    /// When it was last heard of; seconds since 1970.
    last_seen: i64,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Claviger activation server", description = "Activates, refreshes and gives up licenses with signed requests and answers; /v1/admin does what the vendor's commands do."),
    paths(
        exchange::activate, exchange::refresh, exchange::deactivate, exchange::seats, exchange::free,
        public::keyset, public::manifest, public::health,
        admin::list_products, admin::add_product, admin::list_licenses, admin::issue_licenses,
        admin::import_licenses, admin::show_license, admin::suspend_license, admin::resume_license,
        admin::revoke_license, admin::transfer_license, admin::renew_license, admin::list_activations,
        admin::release_activation,
        portal::start_page, portal::give_in, portal::bundle,
        telemetry::notice, telemetry::plan, telemetry::tokens, telemetry::report,
        usage_page::page, usage_page::json, usage_page::csv,
    ),
    components(schemas(Problem)),
    modifiers(&AdminKeyScheme)
)]
struct Description;

/// What the description says of admin keys; [`document`] adds to each operation which scopes it takes.
const ADMIN_KEYS: &str = "A key that `claviger-server admin-key add NAME --scope SCOPE` made. Scopes: `read` sees \
    products, licenses, activations and usage statistics; `issue` (a shop) sees products and licenses, and issues and changes licenses; \
    `support` sees what `read` sees and releases activations; `all` may do everything.";

struct AdminKeyScheme;

impl Modify for AdminKeyScheme {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(ADMIN_KEYS)).build();
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("admin_key", SecurityScheme::Http(scheme));
    }
}

/// `GET /v1/openapi.json`
pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-cache")], Json(document()))
}

/// The description as it is served. OpenAPI wants a sentence for every response; what says nothing of its own gets the
/// one of its status.
fn document() -> serde_json::Value {
    let mut document = serde_json::to_value(Description::openapi()).unwrap_or_default();
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            if let Some(scope) = admin::scope(method, path) {
                let scopes = format!("Scopes: `{}`.", scope.granted_by().join("`, `"));
                operation["description"] = scopes.into();
                describe_refusals(operation);
            }
        }
    }
    let operations = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    for operation in operations.flat_map(|path| path.as_object_mut().into_iter().flat_map(|p| p.values_mut()))
    {
        let Some(responses) = operation.get_mut("responses").and_then(|r| r.as_object_mut()) else {
            continue;
        };
        for (status, response) in responses {
            let sentence = match status.as_bytes().first() {
                Some(b'2') => "Done.",
                Some(b'4') => "A refusal: its code says why.",
                _ => "The server cannot do it at the moment.",
            };
            if let Some(response) = response.as_object_mut() {
                response.entry("description").or_insert_with(|| sentence.into());
            }
        }
    }
    document
}

/// Adds what every path of administrators may answer; operations name only what is their own. Refusals without a body
/// of their own are problems.
fn describe_refusals(operation: &mut serde_json::Value) {
    let takes = |what: &str| operation.get(what).is_some();
    let (input, body) = (takes("parameters") || takes("requestBody"), takes("requestBody"));
    let all = [
        ("400", "What was sent makes no sense; the detail says what.", input),
        (
            "401",
            "The header “Authorization: Bearer KEY” is missing, or its key is not known or not valid any more.",
            true,
        ),
        ("403", "The key has none of the scopes that are needed.", true),
        ("413", "The body is too large.", body),
        ("5XX", "The server cannot do it at the moment; nothing was changed.", true),
    ];
    let Some(responses) = operation.get_mut("responses").and_then(|r| r.as_object_mut()) else { return };
    for (status, sentence, _) in all.into_iter().filter(|(.., may)| *may) {
        responses.entry(status).or_insert_with(|| serde_json::json!({ "description": sentence }));
    }
    for (status, response) in responses.iter_mut() {
        if !status.starts_with('2')
            && let Some(response) = response.as_object_mut()
        {
            response.entry("content").or_insert_with(|| {
                let schema = serde_json::json!({ "$ref": "#/components/schemas/Problem" });
                serde_json::json!({ "application/problem+json": { "schema": schema } })
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use claviger_protocol::http;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn it_is_openapi_3_1_and_names_every_path() {
        let text = document();
        for (path, operations) in text["paths"].as_object().unwrap() {
            for operation in operations.as_object().unwrap().values() {
                for (status, response) in operation["responses"].as_object().unwrap() {
                    assert!(response["description"].is_string(), "{path} {status}");
                }
            }
        }
        assert!(text["openapi"].as_str().unwrap().starts_with("3.1"));
        for path in [
            "/v1/activate",
            "/v1/refresh",
            "/v1/deactivate",
            "/v1/seats",
            "/v1/free",
            "/v1/keyset",
            "/v1/manifest",
            "/v1/health",
            "/offline",
        ] {
            assert!(text["paths"][path].is_object(), "{path}");
        }
        assert_eq!(text["paths"].as_object().unwrap().len(), 28);
        let scheme = &text["components"]["securitySchemes"]["admin_key"];
        assert!(scheme["description"].as_str().unwrap().contains("`support`"));
        for (path, operations) in text["paths"].as_object().unwrap() {
            for operation in operations.as_object().unwrap().values() {
                let scoped = operation["description"].as_str().is_some_and(|d| d.starts_with("Scopes: `"));
                assert_eq!(scoped, path.starts_with("/v1/admin/"), "{path}");
            }
        }
        assert_eq!(
            text["paths"]["/v1/admin/activations/{id}/release"]["post"]["description"],
            "Scopes: `support`, `all`."
        );
        assert!(text["components"]["securitySchemes"]["admin_key"].is_object());
    }

    /// OpenAPI wants a parameter `in` the path for each name in the template, and for no other.
    #[test]
    fn parameters_are_where_the_route_takes_them() {
        let text = document();
        let (mut of_path, mut of_query) = (0, 0);
        for (path, operations) in text["paths"].as_object().unwrap() {
            let mut named: Vec<&str> =
                path.split('/').filter_map(|p| p.strip_prefix('{')?.strip_suffix('}')).collect();
            named.sort_unstable();
            for (method, operation) in operations.as_object().unwrap() {
                let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
                let mut taken: Vec<&str> = Vec::new();
                for parameter in parameters {
                    match parameter["in"].as_str().unwrap() {
                        "path" => {
                            taken.push(parameter["name"].as_str().unwrap());
                            assert_eq!(parameter["required"], true, "{method} {path}");
                            of_path += 1;
                        }
                        "query" => {
                            assert_ne!(parameter["required"], true, "{method} {path}");
                            of_query += 1;
                        }
                        other => panic!("{method} {path}: {other}"),
                    }
                }
                taken.sort_unstable();
                assert_eq!(taken, named, "{method} {path}");
            }
        }
        assert!(of_path >= 7 && of_query >= 12, "{of_path} {of_query}");
    }

    #[test]
    fn paths_of_administrators_describe_their_refusals() {
        let text = document();
        for (path, operations) in text["paths"].as_object().unwrap() {
            if !path.starts_with("/v1/admin/") {
                continue;
            }
            for (method, operation) in operations.as_object().unwrap() {
                let takes = |what: &str| operation.get(what).is_some();
                let mut statuses = vec!["401", "403"];
                if takes("parameters") || takes("requestBody") {
                    statuses.push("400");
                }
                for status in statuses {
                    let schema =
                        &operation["responses"][status]["content"]["application/problem+json"]["schema"];
                    assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{method} {path} {status}");
                }
            }
        }
        let wrong_rows = &text["paths"]["/v1/admin/licenses/import"]["post"]["responses"]["422"]["content"];
        assert!(wrong_rows["application/json"].is_object());
    }

    /// The schemas above describe types of the protocol crate: this fails when those move away.
    #[test]
    fn schemas_describe_what_is_sent() {
        fn fields(value: &impl Serialize) -> Vec<String> {
            let Value::Object(map) = json!(value) else { panic!() };
            map.keys().cloned().collect()
        }
        let holder = http::SeatHolder {
            machine_id: claviger_protocol::ids::MachineId([1; 16]),
            device_name: claviger_protocol::ids::DeviceName::lossy("x"),
            since: claviger_protocol::clock::Timestamp(1),
            last_seen: claviger_protocol::clock::Timestamp(2),
        };
        let mut problem = http::Problem::new(http::ProblemCode::SeatsTaken).detail("x");
        problem.seats = Some(http::Seats { total: 1, holders: vec![holder] });
        problem.document = Some("x".into());
        let read: Problem = serde_json::from_value(json!(problem)).unwrap();
        assert_eq!(fields(&read), fields(&problem));
        let health = http::HealthBody { status: "ok".into(), version: "1".into(), epoch: 1 };
        let read: HealthBody = serde_json::from_value(json!(health)).unwrap();
        assert_eq!(fields(&read), fields(&health));
        let keyset = http::KeysetBody { keyset: "k".into(), sunset: Some("s".into()) };
        let read: KeysetBody = serde_json::from_value(json!(keyset)).unwrap();
        assert_eq!(fields(&read), fields(&keyset));
    }
}
