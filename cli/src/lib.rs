//! The claviger command.
