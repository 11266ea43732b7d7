//! The behaviour of `shards`, as scripts.

use switchover_shards::Shards;

#[test]
fn scripts_pass() {
    switchover_scripts::check_dir::<Shards>("scripts").unwrap();
}
