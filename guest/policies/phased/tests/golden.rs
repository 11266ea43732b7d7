//! The behaviour of `phased`, as scripts.

use switchover_phased::Phased;

#[test]
fn scripts_pass() {
    switchover_scripts::check_dir::<Phased>("scripts").unwrap();
}
