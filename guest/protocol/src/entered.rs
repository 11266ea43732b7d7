//! What becomes of the standing of a migration when an edge is taken.

use crate::{Edge, Effect, Standing};

/// After an edge was taken: what the control document says in the next epoch.
///
/// It is written by a compare-and-set where the epoch is still the one of `standing` and sealed.
pub fn entered(standing: Standing, edge: &Edge) -> Standing {
    let next = Standing { phase: edge.to, ..standing.with_next_epoch() };
    match edge.effect {
        Effect::Settles => Standing { settled: Some(next.epoch), ..next },
        Effect::Forgets => Standing { settled: None, verified: None, ..next },
        // What is emptied is emptied before.
        Effect::Nothing | Effect::EmptiesNew => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Phase, Profile, edge};

    fn take(standing: Standing, to: Phase) -> Standing {
        entered(standing, edge(Profile::Backfill, standing.phase, to).unwrap())
    }

    fn sealed(standing: Standing) -> Standing {
        Standing { sealed: standing.epoch, ..standing }
    }

    /// In `mirror`, settled and sealed.
    fn settled() -> Standing {
        sealed(take(take(Standing::FIRST, Phase::Mirror), Phase::Mirror))
    }

    fn verified() -> Standing {
        let settled = settled();
        settled.after_verification(settled.verification().unwrap()).unwrap()
    }

    #[test]
    fn settling_is_of_the_epoch_that_it_makes() {
        let mirror = take(Standing::FIRST, Phase::Mirror);
        assert_eq!((mirror.epoch, mirror.settled), (Epoch::from(2), None));
        let settled = take(mirror, Phase::Mirror);
        assert_eq!(
            (settled.epoch, settled.phase, settled.settled),
            (Epoch::from(3), Phase::Mirror, Some(Epoch::from(3)))
        );
    }

    #[test]
    fn no_verification_begins_before_settling_or_before_the_seal() {
        let mirror = take(Standing::FIRST, Phase::Mirror);
        assert_eq!(sealed(mirror).verification(), None);
        assert_eq!(take(mirror, Phase::Mirror).verification(), None);
        assert!(settled().verification().is_some());
    }

    #[test]
    fn verification_of_an_earlier_epoch_does_not_count() {
        let begun = settled().verification().unwrap();
        assert_eq!(settled().with_next_epoch().after_verification(begun), None);
        assert_eq!(take(settled(), Phase::Mirror).after_verification(begun), None);
        assert!(settled().after_verification(begun).unwrap().is_verified());
    }

    #[test]
    fn settling_again_asks_for_another_verification() {
        assert!(!take(verified(), Phase::Mirror).is_verified());
    }

    #[test]
    fn verification_outlives_strict_and_changes_of_policy_but_not_off() {
        let strict = take(verified(), Phase::Strict);
        assert!(strict.is_verified() && take(strict, Phase::Mirror).is_verified());
        assert!(verified().with_next_epoch().is_verified());
        let off = take(verified(), Phase::Off);
        assert_eq!((off.settled, off.verified), (None, None));
    }

    #[test]
    fn what_was_sealed_is_not_sealed_in_the_next_epoch() {
        assert!(settled().is_sealed() && !take(settled(), Phase::Strict).is_sealed());
    }
}
