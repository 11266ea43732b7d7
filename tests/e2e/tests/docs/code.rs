//! The Rust code of a page, of an example, and of a crate's documentation.

/// The blocks whose language is Rust.
pub(crate) fn blocks(page: &str) -> Vec<String> {
    fenced(page.lines()).into_iter().filter(|(language, _)| *language == "rust").map(|(_, code)| code).collect()
}

/// The examples of a crate's documentation that are compiled, as readers see them.
pub(crate) fn doctests(source: &str) -> Vec<String> {
    let lines =
        source.lines().filter_map(|line| line.strip_prefix("//!")).map(|line| line.strip_prefix(' ').unwrap_or(line));
    let compiled = fenced(lines).into_iter().filter(|(language, _)| ["", "no_run"].contains(language));
    let visible = |code: String| {
        let lines = code.lines().filter(|line| !line.starts_with("# ") && *line != "#");
        lines.map(|line| format!("{line}\n")).collect::<String>().trim_start_matches('\n').to_owned()
    };
    compiled.map(|(_, code)| visible(code)).collect()
}

/// An example from its first `use` on.
pub(crate) fn without_head(source: &str) -> &str {
    &source[source.find("use ").unwrap()..]
}

fn fenced<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in lines {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((language, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, code))) => *code += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}
