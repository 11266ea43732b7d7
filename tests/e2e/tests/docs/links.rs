//! The links of a page, and the headings that links may name.

use std::collections::BTreeMap;

/// The lines outside of code blocks.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of the links to files of the project.
pub(crate) fn of(page: &str) -> Vec<String> {
    // A link may go over the end of a line, but not out of its paragraph.
    let text = prose(page).collect::<Vec<_>>().join("\n");
    // Every second piece is code within a line.
    let text: String = text.split('`').step_by(2).collect();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned());
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace)).collect()
}

/// The anchors of a page's headings, as code hosts and the book make them.
pub(crate) fn anchors(page: &str) -> Anchors {
    let mut seen = BTreeMap::new();
    let mut anchors = Vec::new();
    for heading in prose(page).filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = seen.entry(anchor.clone()).or_insert(0);
        anchors.push(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        *times += 1;
    }
    Anchors(anchors)
}

/// The anchors of a page.
pub(crate) struct Anchors(Vec<String>);

impl Anchors {
    pub(crate) fn contains(&self, anchor: &str) -> bool {
        self.0.iter().any(|known| known == anchor)
    }
}
