//! What a document says about itself before its signature is checked: to sort files, name machines and show a request to its
//! maker. Nothing here is to be believed.

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::documents::{ActivationCertificate, Answer, DocumentError, Order, Request};
use crate::ids::{ActivationId, DeviceName, MachineId, Nonce, VendorId};
use crate::jws::Unverified;
use crate::keys::{KeyId, Sha256};
use crate::serial::Serial;

/// Whom a request comes from, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFrom {
    /// The vendor that it is meant for.
    pub vendor: VendorId,
    /// The machine.
    pub machine_id: MachineId,
    /// Its name, in an activation.
    pub device_name: Option<DeviceName>,
    /// The license, in an activation.
    pub serial: Option<Serial>,
    /// The device key that should have signed it.
    pub device: KeyId,
    /// Names the request together with the device key: two files with the same pair are the same request.
    pub nonce: Nonce,
    /// When it was made.
    pub iat: Timestamp,
    /// Until when it may be answered.
    pub exp: Option<Timestamp>,
    /// SHA-256 of its compact form.
    pub hash: Sha256,
    /// The whole content.
    pub request: Request,
}

impl RequestFrom {
    /// Reads a request's compact form. The signature it carries is checked, because the key comes along: it tells an
    /// edited file from a whole one, and nothing about who made it.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        let unverified = Unverified::parse::<Request>(text)?;
        let claimed: Request = unverified.peek()?;
        let (request, key, hash) = Request::verify(text, &claimed.aud)?;
        let (device_name, serial) = match &request.order {
            Order::Activate { serial, machine, .. } => {
                (Some(machine.device_name.clone()), Some(serial.clone()))
            }
            Order::Free { serial, .. } => (None, Some(serial.clone())),
            Order::Refresh { .. } | Order::Deactivate { .. } | Order::Seats { .. } => (None, None),
        };
        Ok(Self {
            vendor: request.aud.clone(),
            machine_id: request.order.machine_id(),
            device_name,
            serial,
            device: key.id(),
            nonce: request.nonce,
            iat: request.iat,
            exp: request.exp,
            hash,
            request,
        })
    }
}

/// Whom an answer is for, as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerFor {
    /// The vendor.
    pub vendor: VendorId,
    /// SHA-256 of the request that it answers.
    pub req: Sha256,
    /// The machine, when it activates one.
    pub machine_id: Option<MachineId>,
    /// The license, when it activates one.
    pub serial: Option<Serial>,
    /// The activation, when it makes one.
    pub activation: Option<ActivationId>,
}

impl AnswerFor {
    /// Reads an answer's compact form, without believing it.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Peek {
            iss: VendorId,
            req: Sha256,
            outcome: PeekOutcome,
        }
        #[derive(Deserialize)]
        struct PeekOutcome {
            certificate: Option<String>,
        }
        #[derive(Deserialize)]
        struct PeekCertificate {
            jti: ActivationId,
            serial: Serial,
            machine: MachineId,
        }
        let peek: Peek = Unverified::parse::<Answer>(text)?.peek()?;
        let certificate: Option<PeekCertificate> = match &peek.outcome.certificate {
            Some(text) => Some(Unverified::parse::<ActivationCertificate>(text)?.peek()?),
            None => None,
        };
        Ok(Self {
            vendor: peek.iss,
            req: peek.req,
            machine_id: certificate.as_ref().map(|c| c.machine),
            serial: certificate.as_ref().map(|c| c.serial.clone()),
            activation: certificate.as_ref().map(|c| c.jti),
        })
    }
}
