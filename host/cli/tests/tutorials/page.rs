//! A tutorial as steps: its files, its commands, and what it says of their output.

use std::path::Path;

/// What a reader does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Writes a file, or adds to its end.
    File { path: String, text: String, is_added: bool },
    /// Types these lines. `says` are the lines of output that the page promises, if it does.
    Commands { lines: Vec<String>, says: Vec<String> },
}

/// What comes before the name of a file that is shown whole, and of one that is added to.
const WHOLE: [&str; 2] = ["his is `", "his is all of `"];
const ADDED: &str = "to the end of `";

/// The blocks of code of a page, in order.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    // Text and blocks take turns.
    let parts: Vec<_> = page.split("\n```").collect();
    let blocks = parts.windows(3).step_by(2);
    blocks.map(|around| step(&around[0].replace('\n', " "), around[1], &around[2].replace('\n', " "))).collect()
}

/// The lines of a page that are typed into a shell, in order. One that goes on behind a backslash is one.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    let shell = blocks.filter_map(|block| block.strip_prefix("sh\n")).collect::<Vec<_>>().join("\n");
    let lines = shell.replace("\\\n", " ");
    lines.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn step(before: &str, block: &str, after: &str) -> Step {
    let (language, text) = block.split_once('\n').unwrap();
    if language == "sh" {
        let lines = text.lines().map(str::to_owned).collect();
        return Step::Commands { lines, says: said(after) };
    }
    let before = before.rsplit("  ").next().unwrap();
    let named = |mark: &str| Some(before.split_once(mark)?.1.split('`').next()?.to_owned());
    let is_added = before.contains(ADDED);
    let path = if is_added { named(ADDED) } else { WHOLE.into_iter().find_map(named) };
    let path = path.unwrap_or_else(|| panic!("the page does not say which file this is: {before}"));
    assert!(Path::new(&path).is_relative(), "{path} is not in the reader's folder");
    Step::File { path, text: format!("{text}\n"), is_added }
}

/// The output that follows the words "It says", up to the end of the clause.
fn said(after: &str) -> Vec<String> {
    let Some(rest) = after.trim_start().strip_prefix("It says ") else { return Vec::new() };
    let clause = rest.split([':', '.']).next().unwrap();
    clause.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
