//! What the compiler makes of `ui/`.
#![expect(
    unreachable_pub,
    clippy::todo,
    clippy::unwrap_used,
    reason = "generated code keeps its own manners"
)]

slint::include_modules!();
