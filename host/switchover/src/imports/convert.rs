//! The contract's words in the generated types, and back.

use switchover_contract::{
    Description, Error, ErrorCode, Guarantee, Hints, Mirror, MirrorAction, Model, Object, SaveMode, SaveOutcome, Target,
};

use super::bindings::exports::switchover::policy::about as guest_about;
use super::bindings::exports::switchover::policy::router as guest_router;
use super::bindings::switchover::policy::databases as guest_databases;
use super::bindings::switchover::policy::types as guest;

macro_rules! same_cases {
    ($to:ident, $from:ident: $ours:ident = $theirs:path { $($case:ident),* $(,)? }) => {
        pub(crate) fn $to(ours: $ours) -> $theirs {
            use $theirs as Theirs;
            match ours { $($ours::$case => Theirs::$case),* }
        }

        pub(crate) fn $from(theirs: $theirs) -> $ours {
            use $theirs as Theirs;
            match theirs { $(Theirs::$case => $ours::$case),* }
        }
    };
}

same_cases!(code_to_guest, code_from_guest: ErrorCode = guest::ErrorCode {
    Unavailable, Timeout, UnknownOutcome, Denied, Invalid, TooLarge, Corrupt, Fenced, Conflict, Overloaded, Unsupported,
    Internal,
});
same_cases!(mode_to_guest, mode_from_guest: SaveMode = guest::SaveMode { Create, Update });
same_cases!(outcome_to_guest, outcome_from_guest: SaveOutcome = guest::SaveOutcome { Saved, Exists, Missing, Conflict });

pub(crate) fn error_to_guest(error: Error) -> guest::Error {
    guest::Error { code: code_to_guest(error.code), retryable: error.retryable, message: error.message }
}

pub(crate) fn error_from_guest(error: guest::Error) -> Error {
    Error { code: code_from_guest(error.code), retryable: error.retryable, message: error.message }
}

pub(super) fn target_from_guest(target: guest_databases::Target) -> Target {
    let mirrors = target.mirrors.into_iter().map(|mirror| Mirror {
        database: mirror.database,
        guarantee: match mirror.guarantee {
            guest_databases::Guarantee::Strict => Guarantee::Strict,
            guest_databases::Guarantee::Marked => Guarantee::Marked,
            guest_databases::Guarantee::BestEffort => Guarantee::BestEffort,
        },
        action: match mirror.action {
            guest_databases::MirrorAction::Copy => MirrorAction::Copy,
            guest_databases::MirrorAction::Remove => MirrorAction::Remove,
        },
    });
    Target { home: target.home, lock: target.lock, mirrors: mirrors.collect() }
}

pub(crate) fn model_to_guest(model: Model) -> guest_router::Model {
    guest_router::Model { app_label: model.app_label, model_name: model.model_name }
}

pub(crate) fn hints_to_guest(hints: Hints) -> guest_router::Hints {
    guest_router::Hints { instance_database: hints.instance_database, key: hints.key, context: hints.context }
}

pub(crate) fn object_to_guest(object: Object) -> guest_router::Object {
    guest_router::Object { model: model_to_guest(object.model), database: object.database }
}

pub(crate) fn description_from_guest(description: guest_about::Description) -> Description {
    Description {
        name: description.name,
        version: description.version,
        protocol: description.protocol,
        databases: description.databases,
        flags: description.flags,
        attributes: description.attributes,
    }
}
