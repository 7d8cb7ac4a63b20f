//! Refusals as RFC 9457 wants them.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use claviger_protocol::http::{Problem, ProblemCode};

use crate::engine::WriterError;
use crate::storage::StoreError;

/// A refusal, and when to come back.
#[derive(Clone, Debug)]
pub struct ApiProblem {
    problem: Box<Problem>,
    retry_after: Option<u32>,
}

impl ApiProblem {
    /// The same with a `Retry-After` in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The refusal's code.
    #[must_use]
    pub fn code(&self) -> ProblemCode {
        self.problem.code
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), retry_after: None }
    }
}

impl From<ProblemCode> for ApiProblem {
    fn from(code: ProblemCode) -> Self {
        Problem::new(code).into()
    }
}

impl From<WriterError> for ApiProblem {
    fn from(error: WriterError) -> Self {
        match error {
            WriterError::Store(error) => Self::from(error.as_ref()),
            WriterError::Busy | WriterError::Stopping => {
                let problem = Problem::new(ProblemCode::Unavailable);
                Self::from(problem.detail("The server is busy or restarting: try again in a moment."))
                    .retry_after(2)
            }
        }
    }
}

impl From<&StoreError> for ApiProblem {
    fn from(error: &StoreError) -> Self {
        let unavailable = |detail: &str, seconds| {
            Self::from(Problem::new(ProblemCode::Unavailable).detail(detail)).retry_after(seconds)
        };
        match error {
            StoreError::Full => unavailable(
                "The server's disk is full. Nothing was changed; the vendor has to make room.",
                60,
            ),
            StoreError::Busy | StoreError::Gone => {
                unavailable("The server's database is busy. Nothing was changed; try again in a moment.", 5)
            }
            StoreError::Conflict(text) => Problem::new(ProblemCode::Conflict).detail(text).into(),
            StoreError::NotFound(text) => Problem::new(ProblemCode::NotFound).detail(text).into(),
            StoreError::Invalid(text) => Problem::new(ProblemCode::BadRequest).detail(text).into(),
            StoreError::Database(_) => unavailable(
                "The server's database failed. Nothing was changed; the server's log says why.",
                30,
            ),
            StoreError::Missing(_)
            | StoreError::TooNew { .. }
            | StoreError::Corrupt(_)
            | StoreError::Damaged(_) => Problem::new(ProblemCode::Internal)
                .detail("Nothing was changed; the server's log says why.")
                .into(),
        }
    }
}

impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> Self {
        if !matches!(error, StoreError::Conflict(_) | StoreError::NotFound(_) | StoreError::Invalid(_)) {
            tracing::error!(error = &error as &dyn std::error::Error, "the database failed");
        }
        Self::from(&error)
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.problem.code == ProblemCode::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.problem.code);
        response
    }
}
