//! The pure rules of one copy: the order of its steps, when the new table refuses its put, and which changes it clears.
//! The model calls these functions, and the mover is meant to call them too.

/// The steps of the copy of one key, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reads the tokens of the key's changes.
    Tokens,
    /// Reads the row, or that there is none. It may be one statement with the first step, but never an earlier one.
    Row,
    /// Puts the row into the other table, or deletes it there, in one transaction with the look at the fence.
    Put,
    /// Clears the changes whose tokens the first step has read.
    Clear,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Executed.
    Done,
    /// Refused by the fence.
    Refused(Refusal),
    /// No answer: it may have executed, and may still execute.
    Silent,
}

/// What the copier does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// The next step of this copy.
    Go(Step),
    /// The key is copied.
    Copied,
    /// It gives up this copy. The changes stay, and another copy begins at the first step.
    Again,
    /// It gives up all its copies and its generation. It may take another one.
    StandDown,
}

/// What follows an answer. A clear without an answer needs no care: it names tokens, and no token comes twice.
pub const fn next(step: Step, answer: Answer) -> Next {
    match (step, answer) {
        (Step::Tokens, Answer::Done) => Next::Go(Step::Row),
        (Step::Row, Answer::Done) => Next::Go(Step::Put),
        (Step::Put, Answer::Done) => Next::Go(Step::Clear),
        (Step::Clear, Answer::Done) => Next::Copied,
        (Step::Put, Answer::Silent) | (_, Answer::Refused(_)) => Next::StandDown,
        (Step::Tokens | Step::Row | Step::Clear, Answer::Silent) => Next::Again,
    }
}

/// Counts the holders of the lease, and whatever else closes the fence behind it. It never falls, also not from one move
/// to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(i64);

impl Generation {
    /// Of a table that was never copied into.
    pub const FIRST: Self = Self(1);

    /// The next one. Whoever takes the lease writes it by compare-and-set.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The number, for people.
    pub const fn number(self) -> i64 {
        self.0
    }
}

/// Why a put is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A later generation has raised the fence.
    Deposed,
    /// The copier has not raised the fence to its own generation yet.
    NotRaised,
}

/// What the fence says to a put.
pub fn refusal(fence: Generation, generation: Generation) -> Option<Refusal> {
    match fence.cmp(&generation) {
        core::cmp::Ordering::Equal => None,
        core::cmp::Ordering::Greater => Some(Refusal::Deposed),
        core::cmp::Ordering::Less => Some(Refusal::NotRaised),
    }
}

/// Whether a copier may begin a copy of a key: the fence stands at its generation, and it has no other copy of this key
/// under way, be it for a change or for the scan.
pub fn may_begin(fence: Generation, generation: Generation, is_under_way: bool) -> bool {
    refusal(fence, generation).is_none() && !is_under_way
}

/// Whether a copy may clear a change: its token was read before the row was, and the put of that row was answered.
pub const fn may_clear(is_seen: bool, is_put: bool) -> bool {
    is_seen && is_put
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_goes_through_its_steps_in_their_order() {
        let (mut step, mut steps) = (Step::Tokens, vec![Step::Tokens]);
        while let Next::Go(following) = next(step, Answer::Done) {
            step = following;
            steps.push(step);
        }
        assert_eq!(steps, [Step::Tokens, Step::Row, Step::Put, Step::Clear]);
        assert_eq!(next(step, Answer::Done), Next::Copied);
    }

    #[test]
    fn put_without_an_answer_or_refused_ends_the_generation_and_nothing_else_does() {
        for step in [Step::Tokens, Step::Row, Step::Put, Step::Clear] {
            let expected = if step == Step::Put { Next::StandDown } else { Next::Again };
            assert_eq!(next(step, Answer::Silent), expected, "{step:?}");
        }
        assert_eq!(next(Step::Put, Answer::Refused(Refusal::Deposed)), Next::StandDown);
    }

    #[test]
    fn put_is_taken_under_its_own_generation_alone() {
        let (first, second) = (Generation::FIRST, Generation::FIRST.next());
        assert_eq!(refusal(second, second), None);
        assert_eq!(refusal(second, first), Some(Refusal::Deposed));
        assert_eq!(refusal(first, second), Some(Refusal::NotRaised));
    }

    #[test]
    fn no_second_copy_of_a_key_begins_and_none_before_the_fence_is_raised() {
        let (first, second) = (Generation::FIRST, Generation::FIRST.next());
        assert!(may_begin(first, first, false));
        assert!(!may_begin(first, first, true) && !may_begin(first, second, false));
    }

    #[test]
    fn change_is_cleared_if_it_was_seen_and_its_row_was_put() {
        assert!(may_clear(true, true) && !may_clear(true, false) && !may_clear(false, true));
    }
}
