//! Standard output and standard error: colours only on a terminal, and no error message when the reader goes away.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// The result of a command, as its exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All is well: 0.
    Fine,
    /// The command worked, and found something wrong: 1.
    Found,
    /// A guard of a migration is red, or its databases differ: 2.
    Red,
    /// The command stopped on request, with part of its work done: 130.
    Stopped,
}

impl Verdict {
    /// [`Verdict::Fine`] if `fine`.
    pub(crate) fn of(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Found }
    }
}

/// Writes one line, or several, to standard output.
///
/// # Errors
///
/// [`io::ErrorKind::BrokenPipe`] if the reader went away. `main` then ends the program without a message, see
/// [`is_reader_gone`].
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Writes one line to standard error. If that fails, there is nowhere to report it.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether the error means that the reader of standard output went away. That is no fault: `switchover demo | head`.
pub(crate) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(is_gone))
}

/// A colour for an important word.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Colour {
    /// All is well.
    Green,
    /// Something is wrong.
    Red,
    /// Less important than the rest.
    Dim,
}

/// Colours a text for standard output if that is a terminal.
pub(crate) fn paint(colour: Colour, text: impl Display) -> String {
    colour_on(io::stdout().is_terminal(), colour, text)
}

/// Colours a text for standard error if that is a terminal.
pub(crate) fn paint_note(colour: Colour, text: impl Display) -> String {
    colour_on(io::stderr().is_terminal(), colour, text)
}

fn colour_on(terminal: bool, colour: Colour, text: impl Display) -> String {
    // https://no-color.org
    if !terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        return text.to_string();
    }
    let code = match colour {
        Colour::Green => 32,
        Colour::Red => 31,
        Colour::Dim => 2,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_quiet() {
        assert!(is_reader_gone(&anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing")));
        assert!(!is_reader_gone(&anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound))));
    }
}
