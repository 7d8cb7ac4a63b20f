//! What usage statistics ask of the database of licenses: who holds an activation. They tell it nothing.

use claviger_protocol::ids::{MachineId, ProductId};
use claviger_protocol::keys::KeyId;

use super::Later;

/// Questions about activations.
pub trait Usage {
    /// The machine of this device key, if it holds an activation that has not ended.
    fn active_machine<'a>(&'a self, device: &'a KeyId) -> Later<'a, Option<MachineId>>;

    /// The machines that hold an activation of this product, or of a bundle that contains it. In no order; a machine may
    /// stand there twice.
    fn machines_with<'a>(&'a self, product: &'a ProductId) -> Later<'a, Vec<MachineId>>;
}
