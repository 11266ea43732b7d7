//! The behaviour of `fallback`, as scripts.

use switchover_fallback::Fallback;

#[test]
fn scripts_pass() {
    switchover_scripts::check_dir::<Fallback>("scripts").unwrap();
}
