//! Errors as people and programs see them: what failed, why, and what to do next.

use std::error::Error;

use claviger_client::manager::ManagerError;
use claviger_client::manager::launch::LaunchError;
use claviger_protocol::http::Seats;
use claviger_protocol::ipc::CallError;
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::text;

/// Why a command was not done.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// A stable word for programs.
    pub(crate) code: String,
    /// What happened, a sentence.
    pub(crate) message: String,
    /// What lies behind it, outermost first.
    pub(crate) causes: Vec<String>,
    /// What to do next.
    pub(crate) advice: Option<String>,
    /// Particulars for programs.
    pub(crate) more: Box<Map<String, Value>>,
}

impl Failure {
    /// A failure without causes and advice.
    #[must_use]
    pub(crate) fn new(exit: Exit, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            causes: Vec::new(),
            advice: None,
            more: Box::default(),
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The same with what lies behind it.
    #[must_use]
    pub(crate) fn because(mut self, cause: &dyn Error) -> Self {
        let mut next = Some(cause);
        while let Some(error) = next {
            let text = error.to_string();
            if !self.message.ends_with(&text) && self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Files could not be read or written.
    #[must_use]
    pub(crate) fn storage(what: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(Exit::Storage, "storage", what).because(cause)
    }

    /// What was typed is not right.
    #[must_use]
    pub(crate) fn input(code: &str, cause: &dyn Error) -> Self {
        let mut failure = Self::new(Exit::Input, code, cause.to_string());
        if let Some(source) = cause.source() {
            failure = failure.because(source);
        }
        failure
    }

    /// The seats that a refusal names.
    #[must_use]
    pub(crate) fn seats(&self) -> Option<Seats> {
        self.more.get("seats").and_then(|v| serde_json::from_value(v.clone()).ok())
    }

    /// The object under `error`.
    #[must_use]
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::clone(&self.more);
        object.insert("code".into(), json!(self.code));
        object.insert("message".into(), json!(text::sentence(&self.message)));
        object.insert("advice".into(), json!(self.advice));
        if !self.causes.is_empty() {
            object.insert("causes".into(), json!(self.causes));
        }
        Value::Object(object)
    }
}

impl From<ManagerError> for Failure {
    fn from(error: ManagerError) -> Self {
        let exit = match &error {
            ManagerError::Stranger { .. } => Exit::NotTrusted,
            ManagerError::Denied { .. } | ManagerError::NotOurs => Exit::NotPermitted,
            ManagerError::NoPlace => Exit::Storage,
            ManagerError::CallTooLarge { .. } => Exit::Input,
            ManagerError::Call(call) => exit_of(call),
            _ => Exit::Daemon,
        };
        let mut failure = Self::new(exit, error.code(), error.to_string());
        // A server may have had a hand in it: it must not look like several lines of ours.
        failure.advice = error.advice().map(|advice| text::one_line(advice, 2_000));
        let source = error.source().filter(|_| !matches!(error, ManagerError::NotRunning { .. }));
        if let Some(source) = source {
            failure = failure.because(source);
        }
        if exit == Exit::Ambiguous && failure.code == "not_found" {
            failure.code = "ambiguous".to_owned();
        }
        if let ManagerError::Call(call) = &error {
            match call {
                CallError::Refused { seats: Some(seats), .. } => {
                    failure.more.insert("seats".into(), json!(seats));
                }
                CallError::VendorNeeded { choices, .. } | CallError::NotFound { choices, .. } => {
                    failure.more.insert("choices".into(), json!(choices));
                }
                _ => {}
            }
        }
        failure
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        let exit = match error {
            LaunchError::Manager(error) => return error.into(),
            LaunchError::SystemServesAll | LaunchError::SystemsOwn => Exit::NotPermitted,
            LaunchError::Portable => Exit::Usage,
            _ => Exit::Daemon,
        };
        let mut failure = Self::new(exit, error.code(), error.to_string());
        if let Some(source) = error.source() {
            failure = failure.because(source);
        }
        failure.causes.extend_from_slice(error.said());
        failure.advice = error.advice();
        failure
    }
}

fn exit_of(error: &CallError) -> Exit {
    match error {
        CallError::InvalidInput { .. } => Exit::Input,
        CallError::VendorNeeded { .. } => Exit::Ambiguous,
        CallError::NotFound { choices, .. } if !choices.is_empty() => Exit::Ambiguous,
        CallError::NotFound { .. } => Exit::NotFound,
        CallError::Refused { code, .. } => match code.as_str() {
            "seats_taken" => Exit::SeatsTaken,
            "proof_refused" => Exit::Proof,
            _ => Exit::Refused,
        },
        CallError::Unreachable { .. } => Exit::Unreachable,
        CallError::NotPermitted { .. } => Exit::NotPermitted,
        CallError::Storage { .. } => Exit::Storage,
        CallError::Internal { .. } => Exit::Internal,
    }
}
