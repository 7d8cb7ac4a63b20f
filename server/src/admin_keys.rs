//! Keys of the admin interface: hashed, with scopes.
//!
//! What http/admin uses of it (server-core relies on these names):
//! ```ignore
//! pub enum Scope { ProductsRead, ProductsWrite, LicensesRead, LicensesWrite, ActivationsRead, ActivationsWrite }
//! pub struct AdminKeys;
//! impl AdminKeys {
//!     pub fn load(data: &DataDir) -> Result<Self, AdminKeysError>;       // no file: no keys
//!     pub fn check(&self, bearer: &str, now: Timestamp) -> Option<AdminKey>; // constant time
//! }
//! pub struct AdminKey { pub name: String, .. }
//! impl AdminKey { pub fn may(&self, scope: Scope) -> bool; }
//! ```
