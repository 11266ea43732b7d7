//! The command line of the model of a move.

use clap::Args;
use switchover_model::check::Search;
use switchover_model::mover::kept::{Kept, Move, Size};
use switchover_model::mover::rules::Form;

/// How large the search of a move is.
#[derive(Args)]
pub(crate) struct Moves {
    /// The form of the cut: rename, bridge, seal or fleet
    #[arg(long, default_value = "rename", value_parser = form)]
    form: Form,
    /// Keys, 1 or 2
    #[arg(long, default_value_t = 1)]
    keys: u8,
    /// Writes of applications, up to 5
    #[arg(long, default_value_t = 2)]
    writes: u8,
    /// How many of them change a key in place
    #[arg(long, default_value_t = 0)]
    rekeys: u8,
    /// How often a copier takes the lease; a way back needs 2
    #[arg(long, default_value_t = 2)]
    takes: u8,
    /// Crashes of a copier
    #[arg(long, default_value_t = 0)]
    crashes: u8,
    /// Puts without an answer
    #[arg(long, default_value_t = 0)]
    silences: u8,
    /// Transactions with one snapshot
    #[arg(long, default_value_t = 0)]
    snapshots: u8,
    /// Cuts that step back
    #[arg(long, default_value_t = 0)]
    backs: u8,
    /// Moves that begin again after they were aborted
    #[arg(long, default_value_t = 0)]
    again: u8,
    /// With a way back
    #[arg(long)]
    reverse: bool,
    /// Stop after about this many states, repetitions included
    #[arg(long)]
    generated_max: Option<usize>,
    /// Search depth first and treat applications and copiers as interchangeable: fewer states, longer traces
    #[arg(long)]
    symmetry: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

impl Moves {
    /// The move in this size.
    pub(crate) fn model(&self) -> Move {
        let size = Size {
            keys: self.keys,
            writes: self.writes,
            rekeys: self.rekeys,
            takes: self.takes,
            crashes: self.crashes,
            silences: self.silences,
            snapshots: self.snapshots,
            backs: self.backs,
            again: self.again,
            reverse: self.reverse,
        };
        Move { form: self.form, kept: Kept::ALL, size }
    }

    /// How to search it.
    pub(crate) fn search(&self) -> Search {
        Search { generated_max: self.generated_max, symmetry: self.symmetry, ..Search::WHOLE }
    }
}

fn form(word: &str) -> Result<Form, String> {
    Form::parse(word).ok_or_else(|| format!("use one of {}", Form::ALL.map(Form::as_str).join(", ")))
}
