//! A wrong command line, told without what may be a part of a password in it.

use std::env;

use clap::error::{ContextKind, ContextValue, Error};

/// In the place of what was given.
const NOT_SHOWN: &str = "(not shown)";
/// What clap repeats of a command line.
const REPEATED: [ContextKind; 4] =
    [ContextKind::InvalidArg, ContextKind::InvalidSubcommand, ContextKind::InvalidValue, ContextKind::TrailingArg];

/// Tells what is wrong and ends the program. A shell that split an address at a space or a `&` leaves pieces of it anywhere, so
/// nothing is repeated of a command line that has something like an address in it.
pub(crate) fn exit(mut error: Error) -> ! {
    if env::args_os().skip(1).any(|argument| argument.to_string_lossy().contains([':', '@'])) {
        withhold(&mut error);
    }
    error.exit()
}

fn withhold(error: &mut Error) {
    // In an error about a value these are the names of options and of places for values.
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
