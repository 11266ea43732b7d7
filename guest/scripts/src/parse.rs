//! Reads scripts. Every refusal names the line and what to write instead.

mod call;
mod command;

use std::mem;

use crate::script::{Block, NO_ROWS, SEPARATOR, Script, ScriptError, Step};

use command::Commands;

/// The message of a refusal, or what was read.
type Parsed<T> = Result<T, String>;

/// A refusal: the line, counted from 1, and what is wrong with it.
type Refusal = (usize, String);

/// How a line of the output may begin that has no `-> `.
const OUTPUT_BEGINS: [&str; 4] = ["log ", "row ", "mark ", "cache "];

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// The first line that is not in the language, with what to write instead.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScriptError> {
        read(name, text).map_err(|(line, message)| ScriptError { script: name.to_owned(), line, message })
    }
}

fn read(name: &str, text: &str) -> Result<Script, Refusal> {
    let claim = text.lines().next().and_then(|line| line.strip_prefix("# "));
    let claim = claim.ok_or_else(|| (1, "the first line is the claim: write `# What the script shows.`".to_owned()))?;
    let mut commands = Commands::default();
    let blocks = cut(text)?.iter().map(|lines| block(lines, &mut commands)).collect::<Result<_, _>>()?;
    if !commands.has_called {
        let message = "a script makes at least one call: add one, such as `load k1`".to_owned();
        return Err((text.lines().count(), message));
    }
    Ok(Script { name: name.to_owned(), claim: claim.to_owned(), databases: commands.databases, blocks })
}

/// The lines of one block.
#[derive(Debug, Default)]
struct Lines<'t> {
    /// Above the separator, each with its number.
    input: Vec<(usize, &'t str)>,
    /// Below it.
    output: Vec<&'t str>,
}

/// Cuts a text into blocks: a blank line below a separator ends one, and the text ends the last one.
fn cut(text: &str) -> Result<Vec<Lines<'_>>, Refusal> {
    let mut blocks = Vec::new();
    let mut lines = Lines::default();
    let mut is_output = false;
    for (number, line) in (1..).zip(text.lines()) {
        match (is_output, line.trim_end()) {
            (false, SEPARATOR) if lines.input.is_empty() => {
                return Err((number, "nothing stands above this line: write a command there".to_owned()));
            }
            (false, SEPARATOR) => is_output = true,
            (false, "") if lines.input.is_empty() => {}
            (false, line) => lines.input.push((number, line)),
            (true, "") => {
                blocks.push(mem::take(&mut lines));
                is_output = false;
            }
            (true, _) if may_be_output(line) => lines.output.push(line),
            (true, _) => {
                return Err((number, "no output looks like this: put a blank line above the next command".to_owned()));
            }
        }
    }
    if !lines.input.is_empty() {
        blocks.push(lines);
    }
    Ok(blocks)
}

fn may_be_output(line: &str) -> bool {
    line.contains("-> ") || line == NO_ROWS || OUTPUT_BEGINS.iter().any(|begin| line.starts_with(begin))
}

fn block(lines: &Lines<'_>, commands: &mut Commands) -> Result<Block, Refusal> {
    let mut last = 0;
    for (number, line) in &lines.input {
        last = *number;
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            commands.read(line).map_err(|message| (last, message))?;
        }
    }
    let steps = commands.take_steps();
    if !matches!(steps.last(), Some(Step::Call(_) | Step::Rows)) {
        let message = "a block ends in a call or `rows`: write these lines above the call that they are for".to_owned();
        return Err((last, message));
    }
    let input = lines.input.iter().map(|(_, line)| *line).collect::<Vec<_>>().join("\n").trim_end().to_owned();
    Ok(Block { input, steps, expected: lines.output.iter().map(|&line| line.to_owned()).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_cut_at_the_blank_line_below_their_output() {
        let text = "# A claim.

row default k1 expires=+60s payload=v1
load k1
---
databases.load default k1 -> v1
-> v1

# A remark.
rows
---

log k1
---
log info  -> of a policy
load k1
";
        let lines = cut(text).unwrap_err();
        assert_eq!(lines, (16, "no output looks like this: put a blank line above the next command".to_owned()));
        let text = text.replace("policy\nload k1", "policy\n\n\nload k2");
        let blocks = cut(&text).unwrap();
        let shape: Vec<_> =
            blocks.iter().map(|lines| (lines.input.len(), lines.input[0].0, lines.output.len())).collect();
        assert_eq!(shape, [(4, 1, 2), (2, 9, 0), (1, 13, 1), (1, 18, 0)]);
        assert_eq!(blocks[2].output, ["log info  -> of a policy"]);
    }

    #[test]
    fn wrong_line_is_refused_with_its_number_and_a_remedy() {
        for (line, remedy) in [
            ("lod k1", "no command `lod`"),
            ("load", "`load k1`"),
            ("load K1", "1 to 32 of a-z and 0-9"),
            ("row nowhere k1 expires=+1s payload=v", "`databases default new_session_store nowhere`"),
            ("row default k1 payload=v", "`row default k1 expires=+60s payload=v1`"),
            ("fail databases.load default broken", "write one of unavailable, timeout"),
            ("fail databases.load", "of which database"),
            ("latency cache.get soon", "`latency cache.get 20ms`"),
            ("latency databases.load-each default 1ms", "no such function: write one of databases.load, "),
            ("clock 5s", "`clock +5s`"),
            ("touch k1 expires=90", "`touch k1 expires=+90s`"),
            ("flags on", "`flags migration_flag=on`"),
            ("settings a=b", "above the first call"),
            ("databases a", "move the line up"),
            ("flags a=on", "write these lines above the call that they are for"),
            ("# A remark.", "write these lines above the call that they are for"),
            ("---", "write a command there"),
        ] {
            let refused = Script::parse("test", &format!("# A claim.\nload k1\n---\n-> v1\n\n{line}\n")).unwrap_err();
            assert_eq!((refused.script.as_str(), refused.line), ("test", 6), "{line}");
            assert!(refused.message.contains(remedy), "{line}: {refused}");
        }
    }

    #[test]
    fn command_right_below_the_output_is_refused() {
        for line in ["load k2", "# A remark.", "---"] {
            let refused = Script::parse("test", &format!("# A claim.\nload k1\n---\n-> v1\n{line}\n")).unwrap_err();
            assert_eq!(refused.line, 5, "{line}");
            assert!(refused.message.contains("put a blank line above"), "{line}: {refused}");
        }
    }

    #[test]
    fn script_has_a_claim_and_a_call() {
        assert!(Script::parse("test", "load k1\n").unwrap_err().message.contains("claim"));
        assert!(Script::parse("test", "# A claim.\nrows\n").unwrap_err().message.contains("at least one call"));
        assert!(Script::parse("test", "# A claim.\n").unwrap_err().message.contains("a block ends in a call"));
    }
}
