//! Runs the search: breadth first for the shortest traces, or depth first with symmetry, with bounds on states and
//! time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries};

use crate::case::Case;
use crate::searched::{Promise, Searched, Steps};

/// The longest time of a search for the shortest trace. After it, the search ends with what it has found.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// How often progress is reported.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Outcome<M: Searched> {
    /// The number of distinct states.
    pub states: usize,
    /// The number of states with repetitions, which measures the work.
    pub generated: usize,
    /// The length of the longest run.
    pub depth: usize,
    /// How long the search took.
    pub elapsed: Duration,
    /// Whether every state was visited.
    pub is_whole: bool,
    /// The broken promises, each with a run that breaks it.
    pub broken: Runs<M>,
    /// What must happen in some run and did.
    pub reached: Vec<&'static str>,
    /// What must happen in some run and did not.
    pub missed: Vec<&'static str>,
}

/// Broken promises, each with a run that breaks it.
pub type Runs<M> = Vec<(<M as Searched>::Promise, Steps<M>)>;

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The number of threads. With more than one, traces may not be the shortest.
    pub threads: usize,
    /// Stops after about this many states, repetitions included.
    pub generated_max: Option<usize>,
    /// Stops after this time.
    pub time_max: Option<Duration>,
    /// Searches depth first and treats hosts as interchangeable.
    pub symmetry: bool,
    /// Continues after a broken promise until every promise is broken or every state is visited.
    pub goes_on: bool,
}

impl Search {
    /// Searches everything, in one thread.
    pub const WHOLE: Self = Self { threads: 1, generated_max: None, time_max: None, symmetry: false, goes_on: false };
}

/// Searches, and reports its progress: distinct states, all states, depth.
pub fn search<M: Searched>(model: &M, how: Search, progress: impl FnMut(usize, usize, usize)) -> Outcome<M> {
    let finish = if how.goes_on { HasDiscoveries::AllFailures } else { HasDiscoveries::AnyFailures };
    let mut builder = model.clone().checker().threads(how.threads).finish_when(finish);
    if let Some(generated) = how.generated_max {
        builder = builder.target_state_count(generated);
    }
    if let Some(time) = how.time_max {
        builder = builder.timeout(time);
    }
    if how.symmetry {
        let builder = builder.symmetry_fn(M::representative);
        return wait(model, how, builder.spawn_dfs(), progress);
    }
    wait(model, how, builder.spawn_bfs(), progress)
}

fn wait<M: Searched>(
    model: &M,
    how: Search,
    mut checker: impl Checker<M>,
    mut progress: impl FnMut(usize, usize, usize),
) -> Outcome<M> {
    let begun = Instant::now();
    let handles = checker.handles();
    while handles.iter().any(|handle| !handle.is_finished()) {
        std::thread::park_timeout(PROGRESS_EVERY);
        progress(checker.unique_state_count(), checker.state_count(), checker.max_depth());
    }
    for handle in handles {
        handle.join().expect("the model does not panic");
    }
    outcome(model, how, &checker, begun.elapsed())
}

fn outcome<M: Searched>(model: &M, how: Search, checker: &impl Checker<M>, elapsed: Duration) -> Outcome<M> {
    let mut discoveries = checker.discoveries();
    let broken: Vec<_> = M::Promise::ALL
        .iter()
        .filter_map(|broken| Some((*broken, discoveries.remove(broken.promise())?.into_vec())))
        .collect();
    let hopes = model.properties().into_iter().map(|property| property.name);
    let hopes = hopes.filter(|name| M::Promise::ALL.iter().all(|broken| broken.promise() != *name));
    let (reached, missed) = hopes.partition(|name| discoveries.contains_key(name));
    let was_cut = how.generated_max.is_some_and(|most| checker.state_count() >= most)
        || how.time_max.is_some_and(|most| elapsed >= most);
    Outcome {
        states: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        elapsed,
        is_whole: broken.is_empty() && !was_cut,
        broken,
        reached,
        missed,
    }
}

/// The shortest run for each promise that a case breaks.
///
/// # Errors
///
/// The promises that are kept although the case should break them.
pub fn shortest<M: Searched>(case: &Case<M>) -> Result<Runs<M>, Vec<M::Promise>> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for promise in case.breaks {
        match shortest_of(&case.model, *promise) {
            Some(steps) => found.push((*promise, steps)),
            None => missing.push(*promise),
        }
    }
    if missing.is_empty() { Ok(found) } else { Err(missing) }
}

/// The shortest run that breaks a promise; `None` if there is none.
///
/// The checker visits states in blocks, and keeps the last run that it finds in a block. So the search is repeated
/// below the depth of the found run until it finds nothing shorter.
pub fn shortest_of<M: Searched>(model: &M, promise: M::Promise) -> Option<Steps<M>> {
    let mut best: Option<Steps<M>> = None;
    loop {
        let only = HasDiscoveries::AllOf(BTreeSet::from([promise.promise()]));
        let mut builder = model.clone().checker().finish_when(only).timeout(SEARCH_MAX);
        if let Some(best) = &best {
            builder = builder.target_max_depth(best.len());
        }
        let mut found = builder.spawn_bfs().join().discoveries();
        match found.remove(promise.promise()) {
            Some(path) => best = Some(path.into_vec()),
            None => return best,
        }
    }
}

/// The text of a case that is pinned in a file.
///
/// # Errors
///
/// The promises that the case does not break any more.
pub fn pinned<M: Searched>(case: &Case<M>) -> Result<String, Vec<M::Promise>> {
    let traces = shortest(case)?;
    let traces = traces.iter().map(|(promise, steps)| case.model.text(steps, *promise));
    Ok(format!("{}: {}\n\n{}", case.name, case.about, traces.collect::<Vec<_>>().join("\n\n")))
}
