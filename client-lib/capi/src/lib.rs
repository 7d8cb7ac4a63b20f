//! The C ABI of the Claviger client library.
