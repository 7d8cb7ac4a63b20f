//! Bodies of the activation server's HTTP interface under `/v1`, and the stable codes of its refusals.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `POST /v1/activate` `/v1/refresh` `/v1/deactivate` `/v1/seats` `/v1/free` | [`RequestBody`] | [`AnswerBody`] |
//! | `GET /v1/keyset` | | [`KeysetBody`] |
//! | `GET /v1/manifest` | | [`ManifestBody`] |
//! | `GET /v1/health` | | [`HealthBody`] |
//! | `/v1/telemetry/…` | usage statistics: `crate::telemetry` | |
//!
//! A refusal is `application/problem+json` (RFC 9457): [`Problem`].

use serde::{Deserialize, Serialize};

pub use crate::documents::SeatHolder;

/// Most bytes of a request's body that a server reads.
pub const MAX_REQUEST_BODY: usize = 1024 * 1024 + 64;
/// Most bytes of an answer's body that a daemon reads.
pub const MAX_ANSWER_BODY: usize = 16 * 1024 * 1024;

/// A signed request. Closed list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestBody {
    /// A `claviger-request+jws` in compact form.
    pub request: String,
}

/// A signed answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerBody {
    /// A `claviger-answer+jws` in compact form.
    pub answer: String,
}

/// The current keyset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeysetBody {
    /// A `claviger-keyset+jws` in compact form.
    pub keyset: String,
    /// A `claviger-sunset+jws`, once the vendor has published one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<String>,
}

/// The current catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestBody {
    /// A `claviger-manifest+jws` in compact form.
    pub manifest: String,
}

/// The server works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthBody {
    /// `ok`.
    pub status: String,
    /// The server's version.
    pub version: String,
    /// Its epoch.
    pub epoch: u64,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident, $code:literal, $http:literal, $title:literal;)*) => {
        /// Why a server refuses. The codes are stable; readers treat an unknown one as [`ProblemCode::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)*
            /// A code of a later version.
            #[serde(other, rename = "other")]
            Other,
        }

        impl ProblemCode {
            /// Every code of this version.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable word.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other => "other",
                }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self {
                    $(Self::$name => $http,)*
                    Self::Other => 500,
                }
            }

            /// What happened, in one line.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                    Self::Other => "The server refused for a reason that this version does not know.",
                }
            }
        }
    };
}

problems! {
    /// Unknown serial number or wrong unlock code; the two look alike on purpose.
    ProofRefused, "proof_refused", 403, "The serial number or the unlock code is not right.";
    /// All seats are taken; `seats` names the machines.
    SeatsTaken, "seats_taken", 409, "All seats of this license are in use.";
    /// The vendor suspended the license.
    LicenseSuspended, "license_suspended", 403, "The vendor has suspended this license.";
    /// The vendor revoked the license.
    LicenseRevoked, "license_revoked", 403, "The vendor has revoked this license.";
    /// The subscription or trial is over.
    LicenseExpired, "license_expired", 403, "The subscription or trial has ended.";
    /// No machine of that name or id holds a seat.
    ReplaceUnknown, "replace_unknown", 404, "No computer of that name holds a seat of this license.";
    /// Several machines of that name hold seats.
    ReplaceAmbiguous, "replace_ambiguous", 409, "Several computers of that name hold seats: give the machine id.";
    /// Too many replacements without a receipt within a year.
    ReplaceBudgetSpent, "replace_budget_spent", 409, "This license has used up its replacements for this year.";
    /// More device keys than one machine can have.
    MachineIdShared, "machine_id_shared", 409, "Too many computers share this machine id.";
    /// The activation that this very request made has ended since.
    ActivationGivenUp, "activation_given_up", 409, "The activation made by this request has ended since.";
    /// Same device key and nonce, other bytes.
    NonceReused, "nonce_reused", 422, "This request repeats the nonce of another one.";
    /// The request's end of validity has passed.
    RequestExpired, "request_expired", 422, "The request is too old to be answered.";
    /// The request is meant for another vendor.
    WrongVendor, "wrong_vendor", 422, "The request is meant for another vendor.";
    /// The document is not acceptable; `detail` and `document` say why.
    BadDocument, "bad_document", 422, "The signed request is not acceptable.";
    /// The body is not the expected JSON.
    BadRequest, "bad_request", 400, "The request is not readable.";
    /// The body is too large.
    TooLarge, "too_large", 413, "The request is too large.";
    /// Too many failed proofs; `Retry-After` says when to go on.
    RateLimited, "rate_limited", 429, "Too many wrong codes: wait before trying again.";
    /// No such thing.
    NotFound, "not_found", 404, "There is no such thing here.";
    /// The method is not offered at this path.
    MethodNotAllowed, "method_not_allowed", 405, "That cannot be done here.";
    /// The admin key is missing or wrong.
    Unauthorized, "unauthorized", 401, "An administrator's key is needed.";
    /// The admin key may not do this.
    Forbidden, "forbidden", 403, "This administrator's key may not do that.";
    /// The order id or the serial number exists with other content.
    Conflict, "conflict", 409, "That exists already, with other content.";
    /// The device key of a token request holds no activation.
    NoActivation, "no_activation", 403, "No activation of this vendor is bound to this device key.";
    /// Another batch of tokens was made for this week and installation.
    BatchTaken, "batch_taken", 409, "This installation has had its tokens for this week.";
    /// The report's token was not made by this vendor for this week.
    TokenRefused, "token_refused", 403, "The report's token is not one of this week.";
    /// The report's token was spent on another report.
    TokenSpent, "token_spent", 409, "The report's token was spent already.";
    /// The week has not ended yet, is closed, or is not planned.
    WrongWeek, "wrong_week", 422, "Nothing is taken about this week at the moment.";
    /// A value that the week's plan does not list.
    NotEligible, "not_eligible", 422, "The report names something that the plan of its week does not list.";
    /// Try again later; `Retry-After` says when.
    Unavailable, "unavailable", 503, "The server cannot answer at the moment.";
    /// A mistake of ours, or the disk is full.
    Internal, "internal", 500, "Something went wrong on the server.";
}

/// A refusal, as RFC 9457 wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:claviger:problem:` and the code.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The stable code.
    pub code: ProblemCode,
    /// What happened, in one line.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened here in particular, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Who holds the seats; told only after the unlock code was proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<Seats>,
    /// For [`ProblemCode::BadDocument`]: the document's own error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

impl Problem {
    /// A refusal without particulars.
    #[must_use]
    pub fn new(code: ProblemCode) -> Self {
        Self {
            kind: format!("urn:claviger:problem:{}", code.code()),
            code,
            title: code.title().to_owned(),
            status: code.http_status(),
            detail: None,
            seats: None,
            document: None,
        }
    }

    /// The same with a sentence about this case.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// The seats of a license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seats {
    /// How many there are.
    pub total: u32,
    /// Who holds them.
    pub holders: Vec<SeatHolder>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_back_and_later_ones_tolerated() {
        for code in ProblemCode::ALL {
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.code()));
            assert_eq!(serde_json::from_str::<ProblemCode>(&json).unwrap(), *code);
        }
        let later = r#"{"code":"moon_phase","status":418,"x":1}"#;
        assert_eq!(serde_json::from_str::<Problem>(later).unwrap().code, ProblemCode::Other);
    }
}
