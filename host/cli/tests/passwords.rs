//! Addresses are given on the command line, and hold passwords: whatever is wrong with one, nothing of a password is
//! printed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::Command;

/// Nobody listens there.
const PLACE: &str = "127.0.0.1:1";
const PASSWORDS: [&str; 16] = [
    "Zq7?Xw9k",
    "Zq7#Xw9k",
    "Zq7/Xw9k",
    "Zq7@Xw9k",
    "Zq7%Xw9k",
    "Zq7&Xw9k",
    "Zq7 Xw9k",
    "Zq7:Xw9k",
    "Zq7=Xw9k",
    "Zq7'Xw9k",
    "Zq7\\Xw9k",
    "482#691",
    "482/691",
    "482?sslmode=691",
    "482@691?Zq7=Xw9k",
    "Zq7Xw9k",
];

/// Everything that the program prints; a folder of its own, so that nothing else is in its way.
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_switchover")).args(arguments).current_dir(folder).output().unwrap();
    assert!(!output.status.success(), "{arguments:?} was taken");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

fn assert_untold(password: &str, text: &str) {
    let characters: Vec<_> = password.chars().collect();
    for part in characters.windows(3) {
        let part: String = part.iter().collect();
        assert!("sslmode=".contains(&part) || !text.contains(&part), "{part:?} of {password:?} is told: {text}");
    }
}

#[test]
fn nothing_of_a_password_is_printed_whatever_is_wrong_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[databases.default]\naddress = \"memory:\"\n";
    std::fs::write(folder.path().join("switchover.toml"), config).unwrap();
    for password in PASSWORDS {
        let addresses = ["postgres", "mysql", "redis"].map(|scheme| format!("{scheme}://app:{password}@{PLACE}/app"));
        let without_scheme = format!("app:{password}@{PLACE}/app");
        let no_address = format!("app;{password}@host");
        let slashes = format!("//app:{password}@{PLACE}/app");
        for address in addresses.iter().chain([&without_scheme, &no_address, &slashes]) {
            let in_an_option = format!("--cache={address}");
            // Without a scheme it is the path of a file.
            let as_a_file = format!("sqlite:postgres://{address}");
            for arguments in [
                &["init", address][..],
                &["init", address, "--list"],
                &["stats", address],
                &["stats", &as_a_file],
                &["clear-expired", address],
                &["verify", address, address],
                &["verify", "default", address],
                &["purge", "default", "--against", address, "--yes"],
                &["demo", "--old", address],
                &["demo", "--new", address],
                &["demo", "--cache", address],
                &["demo", &in_an_option, "more"],
                // Slips of the hand.
                &["stats", "default", address],
                &[address],
                &["stats", "--timeout", address, "default"],
                &["stats", "default", "--config", address],
                &["demo", "--old", address, "--seconds", password],
                &["demo", "--old", address, password],
                &["demo", "--secret", address],
                &["policy", "check", address],
                &["policy", "check", "fallback", "--setting", address],
                &["policy", "check", "fallback", "--flag", address],
                &["completions", address],
            ] {
                // `a=b` is a setting.
                let is_setting = arguments.contains(&"--setting") || arguments.contains(&"--flag");
                if is_setting && password.contains('=') {
                    continue;
                }
                assert_untold(password, &printed(folder.path(), arguments));
            }
        }
    }
}

#[test]
fn password_that_is_not_escaped_is_told_how_to_be() {
    let folder = tempfile::tempdir().unwrap();
    for sign in ["?", "#", "/", "@"] {
        for scheme in ["postgres", "mysql"] {
            let address = format!("{scheme}://app:482{sign}691@{PLACE}/app");
            let told = printed(folder.path(), &["stats", &address]);
            for escape in ["`?` as %3F", "`#` as %23", "`/` as %2F", "`@` as %40"] {
                assert!(told.contains(escape), "{sign}: {told}");
            }
        }
    }
    let escaped = printed(folder.path(), &["stats", &format!("postgres://app:482%3F691@{PLACE}/app")]);
    assert!(escaped.contains(&format!("postgres at {PLACE}, database app")), "{escaped}");
}

#[test]
fn usual_slip_is_still_told() {
    let folder = tempfile::tempdir().unwrap();
    assert!(printed(folder.path(), &["stats", "default", "more"]).contains("'more'"));
    assert!(printed(folder.path(), &["stast"]).contains("stats"));
    let told = printed(folder.path(), &["demo", "--old", "memory:", "--sedes", "7"]);
    assert!(told.contains("--sedes"), "{told}");
}
