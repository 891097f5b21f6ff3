//! Packages in other languages that tests use.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs the packages of a lock file into a folder with npm, and copies the files that use them there. Node looks
/// for packages only in the folders above a script.
pub fn npm(source: &Path, folder: &Path, files: &[&str]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"].iter().chain(files) {
        fs::copy(source.join(file), folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund"]);
    install(npm.current_dir(folder), folder, &source.join("package-lock.json"))
}

/// Runs the command that installs the packages of a list, unless the folder has them already.
pub fn install(command: &mut Command, folder: &Path, list: &Path) -> Result<(), String> {
    let (list, installed) = (fs::read_to_string(list).unwrap(), folder.join("installed"));
    if fs::read_to_string(&installed).is_ok_and(|before| before == list) {
        return Ok(());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program} can't be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("{program} can't install: {}", String::from_utf8_lossy(&output.stderr)));
    }
    fs::write(installed, list).map_err(|error| error.to_string())
}
