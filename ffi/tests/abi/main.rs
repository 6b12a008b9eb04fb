//! The C ABI as C programs see it: one binary, so that the library is built and installed once.
//!
//! Needs a C compiler (`$CC` or `cc`), `nm`, `readelf` and what install.sh needs: `ld`, `objcopy`, `ar`.

mod capture;
mod examples;
mod header;
mod layout;
mod policies;
mod symbols;
mod version;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A path below ffi/.
pub fn ffi(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A folder for what tests write.
pub fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

/// Runs a command and returns what it says; panics with its output if it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a command and returns its standard output.
pub fn says(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("UTF-8")
}

/// What every C source here must pass.
const WARNINGS: [&str; 8] = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-Wconversion",
    "-Wstrict-prototypes",
    "-Wshadow",
    "-O2",
];

/// Runs the system's C compiler at the full warning level.
pub fn compile(standard: &str, includes: &[&Path], arguments: &[&str]) {
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(compiler);
    command.arg(format!("-std={standard}")).args(WARNINGS);
    for include in includes {
        command.arg("-I").arg(include);
    }
    run(command.args(arguments));
}

/// Where install.sh has installed both libraries: built by the first test that asks.
pub fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        let prefix = scratch().join("prefix");
        let _ = std::fs::remove_dir_all(&prefix);
        let mut install = Command::new("sh");
        // A target folder of its own: cargo holds a lock on the one that this test was built in.
        install.arg(ffi("install.sh")).arg(&prefix).env("CARGO_TARGET_DIR", scratch().join("c"));
        // What `cargo test` sets for this process is not for that build.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_PROFILE_")
                || name.ends_with("RUSTFLAGS")
            {
                install.env_remove(name);
            }
        }
        run(&mut install);
        prefix
    })
}

/// Compiles a C program of this repository against the installed static library.
pub fn program(source: &str, extra: &[&str]) -> PathBuf {
    let name = Path::new(source).file_stem().and_then(|stem| stem.to_str()).expect("a file name");
    program_as(source, name, extra)
}

/// The same under another name.
pub fn program_as(source: &str, name: &str, extra: &[&str]) -> PathBuf {
    let source = ffi(source);
    let out = scratch().join(name);
    let library = prefix().join("lib/libespial.a");
    let mut arguments =
        vec!["-o", out.to_str().unwrap(), source.to_str().unwrap(), library.to_str().unwrap()];
    arguments.extend(extra);
    compile("c11", &[&prefix().join("include")], &arguments);
    out
}
