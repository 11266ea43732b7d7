//! Moves sessions from an old database to a new one in phases, over a fleet.
//!
//! | phase | read | home | mirror | router |
//! | --- | --- | --- | --- | --- |
//! | `off` | old | old | | old |
//! | `invalidate`, profile `lazy` | old | old | new, strict, removed | old |
//! | `mirror`, profile `backfill` | old | old | new, marked | old |
//! | `strict` | old; profile `lazy`: new, else old | old | new, strict | old |
//! | `cutover` | new | new, locked at old | old, strict | new |
//! | `reverse` | new | new | old, marked | new |
//! | `complete` | new | new | | new |
//!
//! | setting | default | means |
//! | --- | --- | --- |
//! | `old` | `default` | where sessions live before |
//! | `new` | `new_session_store` | where they live after |
//! | `app_label` | `sessions` | the application that the router answers for |
//!
//! | flag | means |
//! | --- | --- |
//! | `migration_phase` | one of the phases; anything else is an error, and so is none |
//! | `migration_profile` | `backfill` or `lazy`; anything else is an error, and so is none |
//!
//! **The flags must not be set by hand over a fleet.** The table alone is not safe. `docs/protocol.md` has the order of
//! the phases, the guards between them, and what the hosts have to do. The table is [`switchover_protocol::plan()`];
//! the model in `tests/model` searches the same function.

use switchover_guest::{
    Description, Error, ErrorCode, Hints, Host, Instant, Model, Policy, Result, SaveMode, SaveOutcome, Target,
    through_cache,
};
use switchover_protocol::{Cache, Mirror, Operation, Phase, Plan, Profile, Side, plan, route};

const PHASE_FLAG: &str = "migration_phase";
const PROFILE_FLAG: &str = "migration_profile";

/// The policy.
#[derive(Debug)]
pub struct Phased;

switchover_guest::export!(Phased);

impl Policy for Phased {
    fn describe<H: Host>(host: &H) -> Description {
        Description {
            name: "phased".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: "phased-1".into(),
            databases: vec![name_of(host, Side::Old), name_of(host, Side::New)],
            flags: vec![PHASE_FLAG.into(), PROFILE_FLAG.into()],
            attributes: Vec::new(),
        }
    }

    async fn load<H: Host>(host: &H, key: &str) -> Result<Option<H::Session>> {
        let plan = planned(host, Operation::Load)?;
        let found = read(host, &plan, key);
        match plan.cache {
            Cache::Fill => through_cache(host, key, found).await,
            Cache::Unused | Cache::Invalidate => found.await,
        }
    }

    async fn save<H: Host>(host: &H, key: &str, value: H::Session, mode: SaveMode) -> Result<SaveOutcome> {
        let operation = match mode {
            SaveMode::Create => Operation::Create,
            SaveMode::Update => Operation::Update,
        };
        host.save(&target(host, operation)?, key, &value, mode).await
    }

    async fn touch<H: Host>(host: &H, key: &str, expires_at: Instant) -> Result<SaveOutcome> {
        host.touch(&target(host, Operation::Touch)?, key, expires_at).await
    }

    async fn delete<H: Host>(host: &H, key: &str) -> Result<bool> {
        host.delete(&target(host, Operation::Delete)?, key).await
    }

    async fn exists<H: Host>(host: &H, key: &str) -> Result<bool> {
        let plan = planned(host, Operation::Exists)?;
        for side in plan.reads {
            if host.exists(&name_of(host, *side), key).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn clear_expired<H: Host>(host: &H, limit: u32) -> Result<u32> {
        let plan = planned(host, Operation::ClearExpired)?;
        let Some((first, rest)) = plan.reads.split_first() else { return Ok(0) };
        // Two databases are swept with one cut-off and one limit.
        let cut_off = (!rest.is_empty()).then(|| host.now());
        let mut cleared = host.delete_expired(&name_of(host, *first), cut_off, limit).await?;
        for side in rest {
            let left = limit.saturating_sub(cleared);
            if left > 0 {
                // What the first cleared is cleared, whatever becomes of the second.
                cleared += host.delete_expired(&name_of(host, *side), cut_off, left).await.unwrap_or(0);
            }
        }
        Ok(cleared)
    }

    fn db_for_read<H: Host>(host: &H, model: &Model, _hints: &Hints) -> Result<Option<String>> {
        routed(host, &model.app_label)
    }

    fn db_for_write<H: Host>(host: &H, model: &Model, _hints: &Hints) -> Result<Option<String>> {
        routed(host, &model.app_label)
    }

    fn allow_migrate<H: Host>(
        host: &H,
        database: &str,
        app_label: &str,
        _model_name: Option<&str>,
        _hints: &Hints,
    ) -> Result<Option<bool>> {
        // Both databases need the table before the first phase, and until the old one is given up by hand.
        let is_one_of_two = [Side::Old, Side::New].iter().any(|side| name_of(host, *side) == database);
        Ok((app_label == host.setting_or("app_label", "sessions")).then_some(is_one_of_two))
    }
}

/// The operator's word for a database.
fn name_of(host: &impl Host, side: Side) -> String {
    match side {
        Side::Old => host.setting_or("old", "default"),
        Side::New => host.setting_or("new", "new_session_store"),
    }
}

/// The phase and the profile of this call's flags.
fn in_force(host: &impl Host) -> Result<(Phase, Profile)> {
    let phase = flag(host, PHASE_FLAG, Phase::parse, &Phase::ALL.map(Phase::as_str))?;
    let profile = flag(host, PROFILE_FLAG, Profile::parse, &Profile::ALL.map(Profile::as_str))?;
    Ok((phase, profile))
}

fn flag<T>(host: &impl Host, name: &str, parse: fn(&str) -> Option<T>, words: &[&str]) -> Result<T> {
    let words = words.join(", ");
    let value = host.flag_value(name);
    let parsed = value.as_deref().and_then(parse);
    parsed.ok_or_else(|| Error::new(ErrorCode::Invalid, format!("the flag {name} must be one of {words}")))
}

fn no_such_phase(phase: Phase, profile: Profile) -> Error {
    let path = profile.path().iter().map(|phase| phase.as_str()).collect::<Vec<_>>().join(", ");
    let message = format!("the profile {profile} has no phase {phase}; set {PHASE_FLAG} to one of {path}");
    Error::new(ErrorCode::Invalid, message)
}

fn planned(host: &impl Host, operation: Operation) -> Result<Plan> {
    let (phase, profile) = in_force(host)?;
    plan(phase, profile, operation).ok_or_else(|| no_such_phase(phase, profile))
}

fn target(host: &impl Host, operation: Operation) -> Result<Target> {
    let plan = planned(host, operation)?;
    let mut target = Target::home(name_of(host, plan.home));
    target.lock = (plan.lock != plan.home).then(|| name_of(host, plan.lock));
    target.mirrors = plan.mirrors.iter().map(|mirror| mirror_of(host, mirror)).collect();
    Ok(target)
}

fn mirror_of(host: &impl Host, mirror: &Mirror) -> switchover_guest::Mirror {
    switchover_guest::Mirror {
        database: name_of(host, mirror.side),
        guarantee: mirror.guarantee,
        action: mirror.action,
    }
}

/// Asks one database after the other until one has the session. A failure of one is made good by the last alone: it
/// decides.
async fn read<H: Host>(host: &H, plan: &Plan, key: &str) -> Result<Option<H::Session>> {
    let Some((last, first)) = plan.reads.split_last() else { return Ok(None) };
    for side in first {
        if let Ok(Some(session)) = host.load(&name_of(host, *side), key).await {
            return Ok(Some(session));
        }
    }
    host.load(&name_of(host, *last), key).await
}

/// The database of an application's tables; `None`: no opinion.
fn routed(host: &impl Host, app_label: &str) -> Result<Option<String>> {
    let (phase, profile) = in_force(host)?;
    if app_label != host.setting_or("app_label", "sessions") {
        return Ok(None);
    }
    let side = route(phase, profile).ok_or_else(|| no_such_phase(phase, profile))?;
    Ok(Some(name_of(host, side)))
}
