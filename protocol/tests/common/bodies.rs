//! One example of every HTTP body, and of every problem, by the name of its golden file.

use claviger_protocol::http::{
    AnswerBody, HealthBody, KeysetBody, ManifestBody, Problem, ProblemCode, RequestBody,
};
use claviger_protocol::telemetry::{NoticeBody, PlanBody};

use super::documents::{activate_request, activated_answer, keyset, manifest, signed_request, sunset};
use super::messages::seats;
use super::{issuing, root, signed, telemetry};

pub fn bodies() -> Vec<(String, String)> {
    fn body<T>(name: &str, body: &T) -> (String, String)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let text = serde_json::to_string(body).expect("bodies serialize");
        let back: T = serde_json::from_str(&text).expect("bodies are read back");
        assert_eq!(back, *body, "{name}");
        (name.to_owned(), text)
    }
    let mut all = vec![
        body("request", &RequestBody { request: signed_request(&activate_request()) }),
        body("answer", &AnswerBody { answer: signed(&activated_answer(), &issuing()) }),
        body("keyset", &KeysetBody { keyset: signed(&keyset(), &root()), sunset: None }),
        body(
            "keyset_with_sunset",
            &KeysetBody { keyset: signed(&keyset(), &root()), sunset: Some(signed(&sunset(), &root())) },
        ),
        body("manifest", &ManifestBody { manifest: signed(&manifest(), &issuing()) }),
        body("health", &HealthBody { status: "ok".to_owned(), version: "0.1.0".to_owned(), epoch: 1 }),
        body(
            "telemetry_notice",
            &NoticeBody { notice: signed(&telemetry::notice(), &issuing()), next: None },
        ),
        body("telemetry_plan", &PlanBody { plans: vec![signed(&telemetry::plan(), &issuing())] }),
        body("telemetry_tokens", &telemetry::tokens()),
        ("telemetry_report".to_owned(), telemetry::usage_report().to_body()),
    ];
    for code in ProblemCode::ALL {
        let mut problem = Problem::new(*code).detail("What happened here in particular.");
        problem.seats = (*code == ProblemCode::SeatsTaken).then(seats);
        problem.document = (*code == ProblemCode::BadDocument).then(|| "wrong_alg".to_owned());
        all.push(body(&format!("problem_{}", code.code()), &problem));
    }
    all
}
