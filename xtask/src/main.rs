//! Developer commands: demo, test, check, bench, dist.
fn main() {}
