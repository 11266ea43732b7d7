//! Finds a tool chain that compiles to wasm, and compiles with it.
//!
//! It tries in this order: the target's standard library is installed; rustup can install it; the sources of the
//! standard library are present (from a distribution's packages, or from rustup's component `rust-src`), so cargo can
//! build it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fmt, fs};

use anyhow::{Context, Result, bail};

const TARGET: &str = "wasm32-unknown-unknown";

/// How guests are compiled, as cargo's environment. Speed comes first: a call takes a microsecond.
pub(crate) const PROFILE: [(&str, &str); 6] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "none"),
];

/// The stack is small, because every instance of the host's pool has its own.
pub(crate) const LINK_FLAGS: [&str; 1] = ["-Clink-arg=-zstack-size=65536"];

/// Where a distribution has its own tools, even if others come first on `PATH`.
const DISTRIBUTION: (&str, &str) = ("/usr/bin/cargo", "/usr/bin/rustc");

/// A way to compile to wasm.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The target's standard library is installed.
    Installed,
    /// The standard library is compiled from its sources.
    FromSources { cargo: PathBuf, rustc: PathBuf, linker: PathBuf },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed => write!(f, "the installed target {TARGET}"),
            Self::FromSources { rustc, linker, .. } => {
                write!(f, "{} and the sources of its standard library, linker {}", rustc.display(), linker.display())
            }
        }
    }
}

impl Toolchain {
    /// Finds the first way that works here.
    ///
    /// # Errors
    ///
    /// If none works: the error says what was tried and what to install.
    pub(crate) fn find() -> Result<Self> {
        let mut tried = Vec::new();
        if is_installed() {
            return Ok(Self::Installed);
        }
        tried.push(format!("rustc has no standard library for {TARGET}"));

        match add_with_rustup() {
            Ok(()) if is_installed() => return Ok(Self::Installed),
            Ok(()) => tried.push(format!("rustup added {TARGET}, but rustc does not find it")),
            Err(why) => tried.push(why),
        }

        let active = ("cargo", "rustc");
        for (cargo, rustc) in [active, DISTRIBUTION] {
            match from_sources(cargo, rustc) {
                Ok(toolchain) => return Ok(toolchain),
                Err(why) => tried.push(why),
            }
        }
        bail!(
            "no tool chain here compiles to wasm:\n  {}\ninstall one of these:\n  rustup target add {TARGET}\n  \
             apt-get install rustc-web cargo-web rust-web-src lld\nthe components of the shipped policies are \
             committed: only a changed policy needs one",
            tried.join("\n  ")
        )
    }

    /// Compiles a crate's library to a core module, and returns the path of the module.
    pub(crate) fn build(&self, root: &Path, dir: &Path, target_dir: &Path) -> Result<PathBuf> {
        let mut command = match self {
            Self::Installed => tool("cargo"),
            Self::FromSources { cargo, rustc, linker } => {
                let mut command = tool(cargo);
                command
                    .env("RUSTC", rustc)
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
                    .arg("-Zbuild-std=std,panic_abort");
                command
            }
        };
        command
            .args(["rustc", "--release", "--lib", "--crate-type", "cdylib", "--target", TARGET])
            .arg("--message-format=json-render-diagnostics")
            .arg("--manifest-path")
            .arg(dir.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target_dir)
            .envs(PROFILE)
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(root))
            .stdout(Stdio::piped());
        let output = command.spawn().and_then(std::process::Child::wait_with_output);
        let output = output.with_context(|| format!("cannot run {}", command.get_program().display()))?;
        if !output.status.success() {
            bail!("cargo failed, see above");
        }
        module_of(&String::from_utf8_lossy(&output.stdout))
            .context("cargo built no wasm module: is the crate a library?")
    }
}

/// The last wasm file in cargo's messages, because dependencies come first.
fn module_of(messages: &str) -> Option<PathBuf> {
    let artifact = |line: &str| -> Option<PathBuf> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let files = message.get("filenames")?.as_array()?;
        files.iter().filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm")).map(PathBuf::from)
    };
    messages.lines().rev().find_map(artifact)
}

/// Options for the linker, and options that keep paths of this machine out of the component.
fn rustflags(root: &Path) -> OsString {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let mut flags: Vec<OsString> = LINK_FLAGS.iter().map(OsString::from).collect();
    for (from, to) in [(home, "/cargo"), (Some(root.to_owned()), "/switchover")] {
        let Some(from) = from else { continue };
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    flags.join("\u{1f}".as_ref())
}

/// A command of a tool chain, without the environment that cargo sets for this program.
fn tool(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in ["LD_LIBRARY_PATH", "RUSTC", "RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command
}

fn is_installed() -> bool {
    let Ok(dir) = answer(tool("rustc").args(["--print", "target-libdir", "--target", TARGET])) else { return false };
    fs::read_dir(dir).is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

fn add_with_rustup() -> Result<(), String> {
    let added = tool("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`rustup target add {TARGET}` failed: no network?")),
        Err(_) => Err("rustup is not installed".to_owned()),
    }
}

fn from_sources(cargo: &str, rustc: &str) -> Result<Toolchain, String> {
    let sysroot = answer(tool(rustc).args(["--print", "sysroot"])).map_err(|why| format!("{rustc}: {why}"))?;
    let std = Path::new(&sysroot).join("lib/rustlib/src/rust/library/std");
    if !std.is_dir() {
        return Err(format!("{rustc} has no sources of its standard library at {}", std.display()));
    }
    answer(tool(cargo).arg("--version")).map_err(|why| format!("{cargo}: {why}"))?;
    let linker = linker(Path::new(&sysroot))
        .ok_or_else(|| format!("{rustc} has no linker for wasm: no rust-lld, no wasm-ld"))?;
    Ok(Toolchain::FromSources { cargo: cargo.into(), rustc: rustc.into(), linker })
}

/// `rust-lld` of this tool chain or of any of rustup's, or a linker on `PATH`.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let rustup =
        env::var_os("RUSTUP_HOME").map(PathBuf::from).or_else(|| env::home_dir().map(|home| home.join(".rustup")));
    let toolchains = rustup.map(|home| subfolders(&home.join("toolchains"))).unwrap_or_default();
    let in_toolchains = [sysroot.to_owned()]
        .into_iter()
        .chain(toolchains)
        .flat_map(|toolchain| subfolders(&toolchain.join("lib/rustlib")))
        .map(|target| target.join("bin/rust-lld"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).flat_map(|dir| ["rust-lld", "wasm-ld"].map(|name| dir.join(name)));
    in_toolchains.chain(on_path).find(|linker| linker.is_file())
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|e| e.path()).collect();
    folders.sort();
    folders
}

/// The first line that a command prints.
fn answer(command: &mut Command) -> Result<String, String> {
    let output = command.stderr(Stdio::null()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err("it fails".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_is_the_last_artifact() {
        let messages = r#"{"reason":"compiler-artifact","filenames":["/t/libdep.rlib"]}
not json
{"reason":"compiler-artifact","filenames":["/t/mine.wasm"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(module_of(messages), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(module_of("{}"), None);
    }
}
