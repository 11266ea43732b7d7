//! Reports a wrong command line without anything that may be a part of a password.

use std::env;

use clap::error::{ContextKind, ContextValue, Error};

/// Replaces what was given.
const NOT_SHOWN: &str = "(not shown)";
/// The parts of a command line that clap repeats.
const REPEATED: [ContextKind; 4] =
    [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue, ContextKind::TrailingArg];

/// Reports what is wrong and ends the program. A shell that splits an address at a space or a `&` leaves pieces of it
/// anywhere. So if a command line has something like an address in it, nothing of it is repeated.
pub(crate) fn exit(mut error: Error) -> ! {
    if env::args_os().skip(1).any(|argument| argument.to_string_lossy().contains([':', '@'])) {
        withhold(&mut error);
    }
    error.exit()
}

fn withhold(error: &mut Error) {
    // In an error about a value, these are the names of options and of value placeholders.
    let is_name = |text: &str| (text.starts_with("--") || text.starts_with('<')) && !text.contains([':', '@']);
    for kind in REPEATED {
        if let Some(ContextValue::String(given)) = error.get(kind)
            && !is_name(given)
        {
            error.insert(kind, ContextValue::String(NOT_SHOWN.to_owned()));
        }
    }
    for kind in [ContextKind::Suggested, ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
        error.remove(kind);
    }
}
