//! The Claviger activation server.
