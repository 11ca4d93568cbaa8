//! The command `linarite`.
fn main() {}
