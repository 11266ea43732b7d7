//! Converts the contract's types to the generated types, and back.

use switchover_contract::{
    Description, Error, ErrorCode, Guarantee, Hints, Level, Mirror, MirrorAction, Model, Object, SaveMode, SaveOutcome,
    Target,
};

use super::bindings::exports::switchover::policy::{about, router};
use super::bindings::switchover::policy::{databases, log, types};

/// Converts enums whose cases have the same names on both sides.
macro_rules! same_cases {
    ($from:ty => $to:ty { $($case:ident)* }) => {
        impl From<$from> for $to {
            fn from(value: $from) -> Self {
                match value { $(<$from>::$case => <$to>::$case,)* }
            }
        }
    };
}

same_cases!(SaveMode => types::SaveMode { Create Update });
same_cases!(types::SaveMode => SaveMode { Create Update });
same_cases!(SaveOutcome => types::SaveOutcome { Saved Exists Missing Conflict });
same_cases!(types::SaveOutcome => SaveOutcome { Saved Exists Missing Conflict });
same_cases!(databases::Guarantee => Guarantee { Strict Marked BestEffort });
same_cases!(databases::MirrorAction => MirrorAction { Copy Remove });
same_cases!(log::Level => Level { Debug Info Warn Error });
same_cases!(ErrorCode => types::ErrorCode {
    Unavailable Timeout UnknownOutcome Denied Invalid TooLarge Corrupt Fenced Conflict Overloaded Unsupported Internal
});
same_cases!(types::ErrorCode => ErrorCode {
    Unavailable Timeout UnknownOutcome Denied Invalid TooLarge Corrupt Fenced Conflict Overloaded Unsupported Internal
});

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        Self { code: error.code.into(), retryable: error.retryable, message: error.message }
    }
}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Self { code: error.code.into(), retryable: error.retryable, message: error.message }
    }
}

impl From<databases::Target> for Target {
    fn from(target: databases::Target) -> Self {
        let mirrors = target.mirrors.into_iter().map(|mirror| Mirror {
            database: mirror.database,
            guarantee: mirror.guarantee.into(),
            action: mirror.action.into(),
        });
        Self { home: target.home, lock: target.lock, mirrors: mirrors.collect() }
    }
}

impl From<&Model> for router::Model {
    fn from(model: &Model) -> Self {
        Self { app_label: model.app_label.clone(), model_name: model.model_name.clone() }
    }
}

impl From<&Object> for router::Object {
    fn from(object: &Object) -> Self {
        Self { model: (&object.model).into(), database: object.database.clone() }
    }
}

impl From<&Hints> for router::Hints {
    fn from(hints: &Hints) -> Self {
        let Hints { instance_database, key, context } = hints.clone();
        Self { instance_database, key, context }
    }
}

impl From<about::Description> for Description {
    fn from(description: about::Description) -> Self {
        let about::Description { name, version, protocol, databases, flags, attributes } = description;
        Self { name, version, protocol, databases, flags, attributes }
    }
}
