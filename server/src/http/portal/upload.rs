//! From the body of a form to what is in its files and its text.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use claviger_protocol::offline;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::multipart::{self, Field, FormError};
use crate::http::exchange::{BodyError, read_body_within};
use crate::offline::Given;

/// Bytes of a form: more than 10,000 requests. What is larger belongs to the command line.
const MOST: usize = 32 * 1024 * 1024;
/// Bytes that every visitor may send at any time; a request has about 2 KiB.
const SMALL: usize = 256 * 1024;
/// Larger forms that are read at a time, so that memory stays bounded.
const LARGE_AT_ONCE: usize = 4;
/// How long a small form, and a large one, may take to arrive.
const TIME: Duration = Duration::from_secs(30);
const LARGE_TIME: Duration = Duration::from_secs(300);

/// Lets large forms in a few at a time.
#[derive(Debug)]
pub(in crate::http) struct Gate(Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

/// A form that was read.
#[derive(Debug)]
pub(super) struct Form {
    /// Its files and its text, with what was found in them.
    pub(super) given: Vec<Given>,
    /// The text as it was sent, for the form that comes back.
    pub(super) text: String,
    /// Whether the answer itself is wanted rather than a page about it.
    pub(super) wants_file: bool,
    /// Held while a large form is worked on.
    _large: Option<OwnedSemaphorePermit>,
}

/// Why a form was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// It is too large.
    #[error("The files have more than {} MiB together.", MOST / 1024 / 1024)]
    TooLarge,
    /// Others are sending large ones already.
    #[error("The server is busy with other large files.")]
    Busy,
    /// It did not arrive.
    #[error("The form did not arrive whole.")]
    Cut,
    /// It is not a form.
    #[error(transparent)]
    Form(#[from] FormError),
}

/// Reads a form.
///
/// # Errors
/// [`UploadError`].
pub(super) async fn read(gate: &Gate, headers: &HeaderMap, body: Body) -> Result<Form, UploadError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    // Who does not say how much comes gets the small limit.
    let large = length.is_some_and(|length| length > SMALL);
    if length.is_some_and(|length| length > MOST) {
        return Err(UploadError::TooLarge);
    }
    let (permit, limit, time) = if large {
        let permit = Arc::clone(&gate.0).try_acquire_owned().map_err(|_| UploadError::Busy)?;
        (Some(permit), MOST, LARGE_TIME)
    } else {
        (None, SMALL, TIME)
    };
    let bytes = read_body_within(body, limit, time).await.map_err(|error| match error {
        BodyError::TooLarge => UploadError::TooLarge,
        BodyError::Broken | BodyError::Slow => UploadError::Cut,
    })?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if !large {
        return Ok(form(&kind, &bytes, permit)?);
    }
    // Ten thousand checksums keep nobody else waiting.
    let read = tokio::task::spawn_blocking(move || form(&kind, &bytes, permit)).await;
    Ok(read.map_err(|_| UploadError::Cut)??)
}

fn form(kind: &str, body: &[u8], large: Option<OwnedSemaphorePermit>) -> Result<Form, FormError> {
    let mut form = Form { given: Vec::new(), text: String::new(), wants_file: false, _large: large };
    for field in multipart::fields(kind, body)? {
        // A field without a chosen file is sent as an empty one.
        let named = field.file_name.as_deref().is_some_and(|name| !name.is_empty());
        match field.name.as_str() {
            "file" if named || !field.content.is_empty() => {
                form.take(field.file_name.as_deref().map(short), &field);
            }
            "text" if !field.content.trim_ascii().is_empty() => {
                form.text = String::from_utf8_lossy(&field.content).into_owned();
                form.take(None, &field);
            }
            "want" => form.wants_file = &*field.content == b"file",
            // Empty fields, and those of a later version of the form.
            _ => {}
        }
    }
    Ok(form)
}

impl Form {
    fn take(&mut self, name: Option<String>, field: &Field<'_>) {
        self.given.push(Given { name, contents: offline::read(&field.content) });
    }
}

/// A file's name for messages: without its folders, not longer than a line.
fn short(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|c| !claviger_protocol::ids::is_unprintable(*c)).take(80).collect()
}
