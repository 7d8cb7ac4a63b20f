//! Root key file, issuing keys on disk, keysets, vendor profile.
//!
//! What http/ and engine/ use of it (server-core relies on these names):
//! ```ignore
//! pub struct Issuer;   // an immutable snapshot of the key files; cheap to share in an Arc
//! impl Issuer {
//!     pub fn load(data: &DataDir) -> Result<Self, KeysError>;
//!     pub fn profile(&self) -> &VendorProfile;             // vendor id, prefix, name
//!     pub fn vendor(&self) -> &VendorId;
//!     pub fn signing_key(&self) -> &SigningKey;             // the newest active issuing key
//!     pub fn find(&self, kid: &KeyId) -> Option<&SigningKey>; // any issuing key on disk
//!     pub fn keyset(&self) -> &Keyset;
//!     pub fn keyset_text(&self) -> &str;
//!     pub fn sunset_text(&self) -> Option<&str>;
//! }
//! ```
//! `serve` loads it anew when the modification time of `keyset.jws` or `sunset.jws` changes (write them by rename).
