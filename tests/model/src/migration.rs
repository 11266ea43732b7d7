//! A migration: what a model is made of, and the steps that its processes take.

use switchover_protocol::{Epoch, Number, Operation, Phase, Plan, Seen, Side, Stamp, TooLate};

use crate::rules::{Rules, Size};
use crate::state::{State, WAITING, WORKER};
use crate::table::Table;

/// What the key's row has counted to, in every state: of numbers only their order matters, and a state says of each
/// statement on its way whether its number is still the next one.
const COUNTED: Number = Number::ZERO;

/// A migration of one key by a table under rules.
#[derive(Clone, Debug)]
pub struct Migration {
    /// What the policy answers.
    pub table: Table,
    /// What the mechanism keeps to.
    pub rules: Rules,
    /// How much may happen.
    pub size: Size,
}

/// What a statement came to, as its sender sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Executed, and answered.
    Answered,
    /// Executed, and the answer was lost.
    Unheard,
    /// Not executed.
    Failed,
    /// Not executed yet, and its sender gave up.
    Late,
}

/// One step of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client calls a host.
    Begin(u8, Operation),
    /// A call goes a step on.
    Proceed(u8, Reply),
    /// The worker locks the key and reads it.
    Copy,
    /// A copy goes a step on.
    ProceedCopy(Reply),
    /// A process crashes and starts again.
    Crash(u8),
    /// The database takes the lock of a paused process away.
    LoseLock(u8),
    /// A process acknowledges the epoch in force.
    Acknowledge(u8),
    /// A host is given up.
    Evict(u8),
    /// Every host has acknowledged: the controller raises the fence to the epoch in force.
    Seal,
    /// The controller has found barrier and guards in order.
    Decide(Phase),
    /// The next epoch is in force.
    Enter,
    /// The verifier reads the old row.
    VerifyOld,
    /// The verifier reads the new row and compares.
    VerifyNew,
    /// A late statement executes.
    Arrive,
    /// A late statement can execute no more: its end has passed.
    EndLate,
    /// The database takes the lock that is held for a late statement away.
    LoseLateLock,
    /// A guard that a host left in the cache ends by itself.
    GuardEnds(u8),
    /// A host does not reach the cache any more.
    Cut(u8),
    /// It reaches it again.
    Heal(u8),
    /// The cache forgets everything.
    Flush,
    /// A host executes at the cache the removal that it owes.
    Pay(u8),
    /// A host that reaches the cache removes what another one asked it to.
    Relay(u8),
    /// A host reads what the control document says about the cache.
    Ask(u8),
    /// The answer arrives, and the host has confirmed it.
    Confirm(u8),
    /// What a host has confirmed runs out.
    RunOut(u8),
    /// The lease of a host's suspension runs out.
    Lapse(u8),
    /// A host's suspension ends in the control document.
    Lift(u8),
}

impl Migration {
    /// Sets a mark with a new token.
    pub(crate) fn mark(&self, state: &mut State, side: Side) {
        state.at_mut(side).mark = true;
        if let Some(copying) = &mut state.worker.task {
            copying.is_same_mark &= copying.from != side;
        }
        // At old this matters only for a weakened table whose lock is at new.
        if self.rules.number_at_home {
            state.count_up(side);
        }
    }

    /// The plan of an operation in a phase.
    pub fn plan(&self, phase: Phase, operation: Operation) -> &Plan {
        self.table.plan(phase, self.rules.profile, operation).expect("a path has only phases of its profile")
    }

    /// Whether a database takes a statement of an epoch that carries no number. A variant without a fence never raises
    /// it.
    pub fn takes(&self, state: &State, epoch: u8) -> bool {
        self.too_late(state, epoch, None).is_none()
    }

    /// Whether a database takes a statement that carries a number, which is or is not the next one still.
    pub(crate) fn takes_numbered(&self, state: &State, epoch: u8, is_next: bool) -> bool {
        let number = if is_next { Number::next(COUNTED, Number::ZERO) } else { COUNTED };
        self.too_late(state, epoch, self.rules.number.then_some(number)).is_none()
    }

    fn too_late(&self, state: &State, epoch: u8, number: Option<Number>) -> Option<TooLate> {
        let fence = Epoch::from(u32::from(state.control.fence));
        let stamp = Stamp { epoch: Epoch::from(u32::from(epoch)), number };
        stamp.too_late(Seen { fence: Some(fence), number: COUNTED })
    }
}

/// The process of a lock or a crash, in words.
pub fn process_name(process: u8) -> String {
    if process == WAITING {
        return "a call that waits".to_owned();
    }
    if process == WORKER { "worker".to_owned() } else { format!("host {}", (b'A' + process) as char) }
}
