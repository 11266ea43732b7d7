//! Two texts beside each other.

/// The lines of both, in order: `  - ` before a line of `expected` alone, `  + ` before a line of `actual` alone,
/// blanks before a line of both.
pub fn diff(expected: &str, actual: &str) -> String {
    let expected: Vec<_> = expected.lines().collect();
    let actual: Vec<_> = actual.lines().collect();
    let same = common_tails(&expected, &actual);
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < expected.len() || j < actual.len() {
        if i < expected.len() && j < actual.len() && expected[i] == actual[j] {
            lines.push(format!("    {}", expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == actual.len() || (i < expected.len() && same[i + 1][j] >= same[i][j + 1]) {
            lines.push(format!("  - {}", expected[i]));
            i += 1;
        } else {
            lines.push(format!("  + {}", actual[j]));
            j += 1;
        }
    }
    lines.join("\n")
}

/// For each pair of ends, how many lines they have in common, in order.
fn common_tails(a: &[&str], b: &[&str]) -> Vec<Vec<usize>> {
    let mut same = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            same[i][j] = if a[i] == b[j] { same[i + 1][j + 1] + 1 } else { same[i + 1][j].max(same[i][j + 1]) };
        }
    }
    same
}

#[cfg(test)]
mod tests {
    use super::diff;

    #[test]
    fn lines_of_one_side_are_marked() {
        assert_eq!(diff("a\nb\nc", "a\nx\nc\nd"), "    a\n  - b\n  + x\n    c\n  + d");
    }
}
