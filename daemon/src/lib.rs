//! The Claviger daemon: activates licenses for every vendor on this machine.
