//! One example of every offline file, of a typed code and of the texts of QR codes.

use claviger_protocol::clock::Timestamp;
use claviger_protocol::documents::{ActivationCertificate, Answer, Order, Outcome, Request, TrustAnchor};
use claviger_protocol::http::ProblemCode;
use claviger_protocol::ids::{ActivationId, MachineId};
use claviger_protocol::keys::Sha256;
use claviger_protocol::offline::armour::{write_collection, write_file};
use claviger_protocol::offline::{BlockKind, FileKind, Refusal, TypedCode, packed};

use super::documents::*;
use super::{issuing, product, signed};

/// What the command line writes: no receipts wait, nothing is replaced.
pub fn request() -> String {
    let mut request = Request { receipts: vec![], ..activate_request() };
    if let Order::Activate { replace, .. } = &mut request.order {
        *replace = None;
    }
    signed_request(&request)
}

pub fn certificate() -> ActivationCertificate {
    let jti = ActivationId::of_request(&Sha256::of(request().as_bytes()));
    ActivationCertificate { jti, ..perpetual() }
}

/// The answer to [`request`].
pub fn response() -> String {
    let answer = Answer {
        req: Sha256::of(request().as_bytes()),
        outcome: Outcome::Activated { certificate: signed(&certificate(), &issuing()) },
        receipts: vec![],
        ..activated_answer()
    };
    signed(&answer, &issuing())
}

pub fn receipt_request() -> String {
    signed_request(&deactivate_request())
}

pub fn refusal() -> Refusal {
    Refusal {
        req: Sha256([9; 32]),
        machine_id: MachineId([0xd4; 16]),
        code: ProblemCode::SeatsTaken,
        detail: Some("Free a seat on another computer.".to_owned()),
    }
}

/// The code for one product of the bundle.
pub fn code() -> TypedCode {
    TypedCode::issue(&certificate(), &product("synth"), &request(), &issuing()).expect("the terms fit")
}

pub fn anchor() -> TrustAnchor {
    profile().anchor(0)
}

/// Every kind of file by its name.
pub fn files() -> Vec<(String, String)> {
    let (request, response, refusal) = (request(), response(), refusal().to_text());
    let lines = [("For", "Soluna Instruments (com.soluna)"), ("License", "SOL-4XQ7K-2M9TB-0RHJ5")];
    let one = |kind: FileKind, document: &str| {
        (format!("example.{}", kind.extension()), write_file(kind, &lines, document))
    };
    vec![
        one(FileKind::Request, &request),
        one(FileKind::Response, &response),
        one(FileKind::Receipt, &receipt_request()),
        (
            "example.clvbatch".to_owned(),
            write_collection(
                FileKind::Batch,
                &[("", "A sentence for people.")],
                [(BlockKind::Request, request.as_str()), (BlockKind::Receipt, &receipt_request())],
            ),
        ),
        (
            "example.clvbundle".to_owned(),
            write_collection(
                FileKind::Bundle,
                &[],
                [(BlockKind::Response, response.as_str()), (BlockKind::Refusal, &refusal)],
            ),
        ),
    ]
}

/// Typed codes of every kind of license, and what they become.
pub fn typed_codes() -> String {
    let mut text = Vec::new();
    for full in [certificate(), subscription(), trial()] {
        let full = ActivationCertificate { jti: certificate().jti, iat: Timestamp(full.iat.0), ..full };
        let code = TypedCode::issue(&full, &product("synth"), &request(), &issuing()).expect("the terms fit");
        let certificate = code.certificate(&request(), &[], &keyset()).expect("it is ours");
        text.push(format!("{code}\n-> {certificate}"));
    }
    text.join("\n")
}

/// The QR texts.
pub fn qr() -> (String, Vec<String>) {
    let portal = claviger_protocol::offline::Portal::of(&profile().server);
    let request = portal.with_request(&request()).expect("it fits");
    (request, packed::answer_parts(&response()).expect("it fits"))
}
