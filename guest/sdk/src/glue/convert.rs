//! The bindings' types and the plain ones, in both directions.

use super::bindings::exports::switchover::policy::{about, router};
use super::bindings::switchover::policy::{databases, log, types};
use switchover_contract::{
    Description, Error, ErrorCode, Guarantee, Hints, Level, MirrorAction, Model, Object, SaveMode, SaveOutcome,
};

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
same_cases!(Guarantee => databases::Guarantee { Strict Marked BestEffort });
same_cases!(MirrorAction => databases::MirrorAction { Copy Remove });
same_cases!(Level => log::Level { Debug Info Warn Error });
same_cases!(ErrorCode => types::ErrorCode {
    Unavailable Timeout UnknownOutcome Denied Invalid TooLarge Corrupt Fenced Conflict Overloaded Unsupported Internal
});
same_cases!(types::ErrorCode => ErrorCode {
    Unavailable Timeout UnknownOutcome Denied Invalid TooLarge Corrupt Fenced Conflict Overloaded Unsupported Internal
});

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Self { code: error.code.into(), retryable: error.retryable, message: error.message }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        Self { code: error.code.into(), retryable: error.retryable, message: error.message }
    }
}

impl From<router::Model> for Model {
    fn from(model: router::Model) -> Self {
        Self { app_label: model.app_label, model_name: model.model_name }
    }
}

impl From<router::Object> for Object {
    fn from(object: router::Object) -> Self {
        Self { model: object.model.into(), database: object.database }
    }
}

impl From<router::Hints> for Hints {
    fn from(hints: router::Hints) -> Self {
        Self { instance_database: hints.instance_database, key: hints.key, context: hints.context }
    }
}

impl From<Description> for about::Description {
    fn from(description: Description) -> Self {
        let Description { name, version, protocol, databases, flags, attributes } = description;
        Self { name, version, protocol, databases, flags, attributes }
    }
}
