//! Runs the search: breadth first for shortest traces, or over everything with a bound on states.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model as _};

use crate::case::Case;
use crate::migration::Migration;
use crate::state::Broken;
use crate::trace::{self, Steps};

/// A search that takes longer is given up, and says so.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What a search came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Distinct states.
    pub states: usize,
    /// States with repetitions, which is the work that was done.
    pub generated: usize,
    /// The longest run.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Every state was visited.
    pub is_whole: bool,
    /// Broken promises with a run each.
    pub broken: Vec<(Broken, Steps)>,
    /// What should happen in some run and did.
    pub reached: Vec<&'static str>,
    /// What should happen in some run and did not.
    pub missed: Vec<&'static str>,
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// Threads; with more than one, traces are not the shortest.
    pub threads: usize,
    /// Stops after about this many states, repetitions counted.
    pub generated_max: Option<usize>,
    /// Stops after this time.
    pub time_max: Option<Duration>,
    /// Depth first with hosts taken as interchangeable.
    pub symmetry: bool,
    /// Goes on after a broken promise until every promise is broken or every state visited.
    pub goes_on: bool,
}

impl Search {
    /// Everything, in one thread.
    pub const WHOLE: Self = Self { threads: 1, generated_max: None, time_max: None, symmetry: false, goes_on: false };
}

/// Searches, and tells how far it is: distinct states, all states, depth.
pub fn search(model: &Migration, how: Search, progress: impl FnMut(usize, usize, usize)) -> Outcome {
    let finish = if how.goes_on { HasDiscoveries::AllFailures } else { HasDiscoveries::AnyFailures };
    let mut builder = model.clone().checker().threads(how.threads).finish_when(finish);
    if let Some(generated) = how.generated_max {
        builder = builder.target_state_count(generated);
    }
    if let Some(time) = how.time_max {
        builder = builder.timeout(time);
    }
    if how.symmetry {
        let builder = builder.symmetry_fn(crate::symmetry::representative);
        return wait(model, how, builder.spawn_dfs(), progress);
    }
    wait(model, how, builder.spawn_bfs(), progress)
}

fn wait(
    model: &Migration,
    how: Search,
    mut checker: impl Checker<Migration>,
    mut progress: impl FnMut(usize, usize, usize),
) -> Outcome {
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

fn outcome(model: &Migration, how: Search, checker: &impl Checker<Migration>, elapsed: Duration) -> Outcome {
    let mut discoveries = checker.discoveries();
    let broken: Vec<_> = Broken::ALL
        .into_iter()
        .filter_map(|broken| Some((broken, discoveries.remove(broken.promise())?.into_vec())))
        .collect();
    let hopes = model.properties().into_iter().map(|property| property.name);
    let hopes = hopes.filter(|name| Broken::ALL.iter().all(|broken| broken.promise() != *name));
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

/// The shortest runs that break the promises of a case, or what was not found.
///
/// # Errors
///
/// The promises that are kept although the case should break them.
pub fn shortest(case: &Case) -> Result<Vec<(Broken, Steps)>, Vec<Broken>> {
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

/// The checker looks at states in blocks, and keeps the last that it finds in one. So the search is made again below the depth of
/// what was found until nothing shorter is.
fn shortest_of(model: &Migration, promise: Broken) -> Option<Steps> {
    let mut best: Option<Steps> = None;
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

/// The pinned text of a case.
///
/// # Errors
///
/// What the case does not break any more.
pub fn pinned(case: &Case) -> Result<String, Vec<Broken>> {
    let traces = shortest(case)?;
    let traces = traces.iter().map(|(promise, steps)| trace::render(&case.model, steps, *promise));
    Ok(format!("{}: {}\n\n{}", case.name, case.about, traces.collect::<Vec<_>>().join("\n\n")))
}
