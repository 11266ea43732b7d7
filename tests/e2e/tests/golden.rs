//! Runs the scripts of the shipped policies through their components. If an output differs from the native one, the
//! boundary is wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use switchover::isolation::Isolated;
use switchover::{Builtin, Policy};
use switchover_scripts::{Golden, check_scripts};

async fn check(builtin: Builtin) -> usize {
    let scripts =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest/policies").join(builtin.name()).join("scripts");
    let component = Isolated::load(&Policy::builtin(builtin)).await.unwrap();
    check_scripts(&scripts, &component, Golden::Compare).await.unwrap()
}

#[tokio::test]
async fn cached_db_component_behaves_as_its_source() {
    assert!(check(Builtin::CachedDb).await > 10);
}

#[tokio::test]
async fn fallback_component_behaves_as_its_source() {
    assert!(check(Builtin::Fallback).await > 10);
}

#[tokio::test]
async fn shards_component_behaves_as_its_source() {
    assert!(check(Builtin::Shards).await > 10);
}

#[tokio::test]
async fn phased_component_behaves_as_its_source() {
    assert!(check(Builtin::Phased).await > 90);
}

#[tokio::test]
async fn phased_is_tried_under_the_phase_in_force_and_no_other() {
    let component = Isolated::load(&Policy::builtin(Builtin::Phased)).await.unwrap();
    let flags = |phase: &str, profile: &str| {
        let flags = [("migration_phase", phase), ("migration_profile", profile)];
        flags.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    for (phase, profile) in [("off", "backfill"), ("strict", "backfill"), ("strict", "lazy"), ("complete", "lazy")] {
        component.try_out(flags(phase, profile)).await.unwrap();
    }
    component.try_out(flags("invalidate", "lazy")).await.unwrap();
    for phase in ["mirror", "cutover", "reverse"] {
        let refused = component.try_out(flags(phase, "backfill")).await.unwrap_err().to_string();
        assert!(refused.contains("unsupported") || refused.contains("version"), "{phase}: {refused}");
    }
    let refused = component.try_out(flags("on", "backfill")).await.unwrap_err().to_string();
    assert!(refused.contains("migration_phase must be one of off"), "{refused}");
}
