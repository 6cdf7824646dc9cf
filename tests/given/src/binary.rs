//! The binaries under test: those beside the test executable, built anew where a source is younger.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Whose sources the binary is made of.
const SOURCES: &[&str] = &["core", "dedicated", "functions", "local", "server", "Cargo.toml", "Cargo.lock"];

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package is in the tests' folder")
}

/// The binary: `LYCEUM_BIN`, or else the one of this profile, built once where it is missing or older than its sources.
///
/// # Panics
/// Where it cannot be built.
pub fn lyceum() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LYCEUM_BIN") {
        Some(path) => {
            let path = PathBuf::from(path);
            assert!(path.is_file(), "LYCEUM_BIN is {}, and there is no such file", path.display());
            path
        }
        // As a part of the workspace: what its tests were built with is used again.
        None => find_or_build(&["--workspace"], "lyceum"),
    })
}

/// The container's program, of this profile, built where it is missing or older than its sources.
///
/// # Panics
/// Where it cannot be built.
pub fn dedicated() -> PathBuf {
    find_or_build(&["--workspace"], "lyceum-dedicated")
}

/// A program of the tests, of this profile, built where it is missing or older than its sources.
///
/// # Panics
/// Where it cannot be built.
pub fn program(name: &str) -> PathBuf {
    find_or_build(&["--workspace"], name)
}

/// The program that AWS Lambda would run for a family, of this profile, built where it is missing or older than its
/// sources.
///
/// # Panics
/// Where it cannot be built.
pub fn function(family: &str) -> PathBuf {
    // As a part of the workspace: what its tests were built with is used again.
    find_or_build(&["--workspace"], &format!("lyceum-{family}"))
}

fn find_or_build(of: &[&str], name: &str) -> PathBuf {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("tests are in target/<profile>/deps");
    let target = profile.parent().expect("profiles are in the target folder");
    let binary = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    let built = binary.metadata().and_then(|binary| binary.modified()).ok();
    let is_current = built.is_some_and(|built| SOURCES.iter().all(|of| !is_younger(&workspace().join(of), built)));
    if !is_current {
        let profile = match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(name) => name,
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // What cargo tells a test of its package: some build scripts look at that, and would have half of the workspace built anew.
        for (name, _) in std::env::vars_os() {
            if ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_"].iter().any(|of| name.to_string_lossy().starts_with(of)) {
                cargo.env_remove(name);
            }
        }
        let built = cargo
            .current_dir(workspace())
            .arg("build")
            .args(of)
            .args(["--bin", name, "--profile", profile, "--target-dir"])
            .arg(target)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "`cargo build --bin {name}` failed: mend that first");
        // Where it is made of none of what changed, cargo leaves it as old as it was, and would be asked again by the next test.
        let marked = File::open(&binary).and_then(|file| file.set_modified(SystemTime::now()));
        marked.unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    }
    binary
}

/// Whether a file, or any file below a folder, was changed after that time.
fn is_younger(path: &Path, than: SystemTime) -> bool {
    if path.is_dir() {
        let Ok(entries) = path.read_dir() else { return false };
        return entries.flatten().any(|entry| is_younger(&entry.path(), than));
    }
    path.metadata().and_then(|file| file.modified()).is_ok_and(|modified| modified > than)
}
