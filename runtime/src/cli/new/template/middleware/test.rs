//! What it does.

#[test]
fn it_is_built() {}
