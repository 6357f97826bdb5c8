//! Private servers whose commits take longer: a library that is preloaded into them waits after each fsync.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Outcome;
use crate::program::Environment;

const SOURCE: &str = include_str!("slow_commits.c");

/// What servers are started with so that a commit takes longer by so many microseconds.
pub(super) fn environment(scratch: &Path, delay_us: u32) -> Outcome<Environment> {
    let mut settings = vec![("OTPD_SERVICES_PRIVATE".to_owned(), "1".to_owned())];
    if delay_us > 0 {
        let library = library(scratch)?;
        settings.push(("COMMIT_DELAY_US".to_owned(), delay_us.to_string()));
        settings.push(("LD_PRELOAD".to_owned(), library.to_str().ok_or("a path that is not UTF-8")?.to_owned()));
    }
    Ok(settings)
}

/// Compiles it to where the servers' own users may read it.
fn library(scratch: &Path) -> Outcome<PathBuf> {
    let (source, library) = (scratch.join("slow_commits.c"), scratch.join("slow_commits.so"));
    std::fs::write(&source, SOURCE)?;
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(&source).arg("-ldl");
    if !compile.status()?.success() {
        return Err("cc cannot compile slow_commits.c".into());
    }
    let readable = |path: &Path, mode| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    readable(scratch, 0o755)?;
    readable(&library, 0o755)?;
    Ok(library)
}
