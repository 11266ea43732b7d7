//! The behaviour of `cached-db`, as scripts.

use switchover_cached_db::CachedDb;

#[test]
fn scripts_pass() {
    switchover_scripts::check_dir::<CachedDb>("scripts").unwrap();
}
