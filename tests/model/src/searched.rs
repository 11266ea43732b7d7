//! What the search needs of a model: its promises, and the text of a run.

use std::fmt::Debug;
use std::hash::Hash;

use stateright::Model;

/// The steps of a run, each with the state before it. The last state has no step.
pub type Steps<M> = Vec<(<M as Model>::State, Option<<M as Model>::Action>)>;

/// A promise that a run can break.
pub trait Promise: Copy + Debug + PartialEq + 'static {
    /// All promises of the model.
    const ALL: &'static [Self];

    /// The name of the promise, which is the name of its property.
    fn promise(self) -> &'static str;

    /// A word for lists.
    fn word(self) -> &'static str;
}

/// A model that can be searched for broken promises.
pub trait Searched:
    Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    /// The promises.
    type Promise: Promise;

    /// The state that stands for all states like this one, where processes are interchangeable.
    fn representative(state: &Self::State) -> Self::State {
        state.clone()
    }

    /// The text of a run that breaks a promise.
    fn text(&self, steps: &Steps<Self>, promise: Self::Promise) -> String;
}
