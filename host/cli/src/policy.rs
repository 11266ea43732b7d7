//! `switchover policy`: tries a policy without any database. It takes any component, written in any language.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use switchover::isolation::Isolated;
use switchover::{Builtin, Policy};
use switchover_scripts::{Script, diff};

use crate::output::{Colour, Verdict, paint, print};
use crate::place;

const SCRIPT_EXTENSION: &str = "script";

/// The commands for a policy.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Load a policy as a host would, and report what is wrong with it
    Check(CheckOptions),
    /// Show the policy's description of itself
    Describe(Options),
    /// Run golden scripts against a policy
    Test(TestOptions),
}

/// The options of `policy describe`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover policy check my-policy.wasm
  switchover policy describe my-policy.wasm --setting database=new_session_store
  switchover policy describe cached-db")]
pub(crate) struct Options {
    /// A component, or the name of a policy that comes with Switchover
    file: PathBuf,
    /// A setting of the policy; may be given more than once
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The options of `policy check`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover policy check my-policy.wasm
  switchover policy check phased --flag migration_phase=off --flag migration_profile=backfill

Only the given flags are set. The exit status is 1 if a host would refuse the policy.")]
pub(crate) struct CheckOptions {
    #[command(flatten)]
    policy: Options,
    /// A flag for the trial; may be given more than once
    #[arg(long = "flag", value_name = "NAME=VALUE", value_parser = setting)]
    flags: Vec<(String, String)>,
}

/// The options of `policy test`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  switchover policy test my-policy.wasm scripts/
  switchover policy test fallback guest/policies/fallback/scripts/*.script

A script is a list of blocks: commands, `---`, the output that is expected of them, and a blank line.
The exit status is 1 if the output of a script differs.")]
pub(crate) struct TestOptions {
    /// A component, or the name of a policy that comes with Switchover
    file: PathBuf,
    /// Scripts, or folders of them
    #[arg(required = true)]
    scripts: Vec<PathBuf>,
    /// A setting while the policy is loaded; a script uses its own settings. May be given more than once
    #[arg(long = "setting", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs a command.
pub(crate) async fn run(command: Command) -> Result<Verdict> {
    match command {
        Command::Check(options) => check(options).await,
        Command::Describe(options) => describe(options).await,
        Command::Test(options) => test(options).await,
    }
}

async fn check(CheckOptions { policy: options, flags }: CheckOptions) -> Result<Verdict> {
    let loaded = match Isolated::load(&policy(&options.file, &options.settings)?).await {
        Ok(isolated) => isolated.try_out(flags.into_iter().collect()).await.map(|()| isolated),
        Err(error) => Err(error),
    };
    let name = options.file.display();
    match (&loaded, options.json) {
        (Ok(isolated), true) => {
            let bytes = isolated.component_bytes();
            print(json!({"ok": true, "file": name.to_string(), "digest": isolated.digest(), "bytes": bytes}))?;
        }
        (Err(error), true) => print(json!({"ok": false, "file": name.to_string(), "error": error.to_string()}))?,
        (Ok(isolated), false) => {
            let (well, about) = (paint(Colour::Green, "can be used"), isolated.description());
            print(format_args!(
                "{name}: {well}: {} {}, {} bytes",
                about.name,
                about.version,
                isolated.component_bytes()
            ))?;
        }
        (Err(error), false) => print(format_args!("{name}: {}: {error}", paint(Colour::Red, "cannot be used")))?,
    }
    Ok(Verdict::of(loaded.is_ok()))
}

async fn describe(options: Options) -> Result<Verdict> {
    let isolated = load(&options.file, &options.settings).await?;
    let about = isolated.description();
    if options.json {
        let attributes: serde_json::Map<_, _> =
            about.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        print(json!({
            "name": about.name,
            "version": about.version,
            "protocol": about.protocol,
            "databases": about.databases,
            "flags": about.flags,
            "attributes": attributes,
            "digest": isolated.digest(),
            "bytes": isolated.component_bytes(),
        }))?;
        return Ok(Verdict::Fine);
    }
    let or_none = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    print(format_args!("name       {}", about.name))?;
    print(format_args!("version    {}", about.version))?;
    print(format_args!("protocol   {}", about.protocol))?;
    print(format_args!("databases  {}", or_none(&about.databases)))?;
    print(format_args!("flags      {}", or_none(&about.flags)))?;
    for (name, value) in &about.attributes {
        print(format_args!("{name:<10} {value}"))?;
    }
    print(format_args!("digest     {}", isolated.digest()))?;
    print(format_args!("bytes      {}", isolated.component_bytes()))?;
    Ok(Verdict::Fine)
}

async fn test(options: TestOptions) -> Result<Verdict> {
    let isolated = load(&options.file, &options.settings).await?;
    let paths = scripts(&options.scripts)?;
    let mut failed = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let script = Script::parse(&path.display().to_string(), &text)?;
        let (expected, came) = (script.expected(), script.run(&isolated).await);
        let passed = came == expected;
        if !options.json {
            let word = if passed { paint(Colour::Green, "ok") } else { paint(Colour::Red, "differs") };
            print(format_args!("{word:>4}  {}: {}", script.name(), script.claim()))?;
            if !passed {
                show_difference(&expected, &came)?;
            }
        }
        if !passed {
            failed.push(script.name().to_owned());
        }
    }
    if options.json {
        print(json!({"ok": failed.is_empty(), "scripts": paths.len(), "failed": failed}))?;
    } else {
        print(format_args!("{} of {} scripts passed", paths.len() - failed.len(), paths.len()))?;
    }
    Ok(Verdict::of(failed.is_empty()))
}

async fn load(file: &Path, settings: &[(String, String)]) -> Result<Isolated> {
    Isolated::load(&policy(file, settings)?).await.with_context(|| format!("cannot use {}", file.display()))
}

fn policy(file: &Path, settings: &[(String, String)]) -> Result<Policy> {
    let builtin = Builtin::ALL.into_iter().find(|builtin| file.as_os_str() == builtin.name());
    let policy = match builtin {
        Some(builtin) => Policy::builtin(builtin),
        None => {
            ensure!(file.exists(), "there is no file {}", place::shown_path(file));
            Policy::file(file)
        }
    };
    Ok(settings.iter().fold(policy, |policy, (name, value)| policy.setting(name, value)))
}

/// The named scripts, and the scripts of the named folders, sorted by name within each folder.
fn scripts(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for path in named {
        if !path.is_dir() {
            paths.push(path.clone());
            continue;
        }
        let entries =
            fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        let is_script = |path: &PathBuf| path.extension().is_some_and(|extension| extension == SCRIPT_EXTENSION);
        let mut found: Vec<_> = entries.into_iter().filter(is_script).collect();
        if found.is_empty() {
            bail!("{} has no scripts: add a file that ends in `.{SCRIPT_EXTENSION}`", path.display());
        }
        found.sort();
        paths.append(&mut found);
    }
    Ok(paths)
}

/// Prints both texts, with the lines in colour that only one of them has.
fn show_difference(expected: &str, came: &str) -> Result<()> {
    for line in diff(expected, came).lines() {
        match line.get(..4) {
            Some("  - ") => print(paint(Colour::Red, format_args!("    {line}")))?,
            Some("  + ") => print(paint(Colour::Green, format_args!("    {line}")))?,
            _ => print(format_args!("    {line}"))?,
        }
    }
    Ok(())
}

fn setting(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| anyhow!("write it as NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
