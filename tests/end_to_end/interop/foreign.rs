//! Clients in other languages: scripts beside this file that use a published package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use end_to_end::example::Example;
use end_to_end::skip::skip;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
/// Outlives a run, so that packages are fetched once for each version of their list.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// Runs a scenario of `node/client.mjs`.
pub(crate) fn openid_client(example: &Example, scenario: &str) {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let Some(folder) = ready(FOLDER.get_or_init(install_openid_client)) else { return };
    run(Command::new("node").arg(folder.join("client.mjs")).arg(&example.base).arg(scenario), scenario);
}

/// Runs a scenario of `python/client.py`.
pub(crate) fn authlib(example: &Example, scenario: &str) {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let Some(folder) = ready(FOLDER.get_or_init(install_authlib)) else { return };
    let script = Path::new(SCRIPTS).join("python/client.py");
    // -B: nothing is written beside the script.
    let mut python = Command::new("python3");
    python.arg("-B").arg(script).arg(&example.base).arg(scenario).env("PYTHONPATH", folder);
    run(&mut python, scenario);
}

/// A module finds packages beside itself only, so the scripts go where the packages are.
fn install_openid_client() -> Result<PathBuf, String> {
    let (scripts, folder) = (Path::new(SCRIPTS).join("node"), Path::new(FOLDER).join("interop-node"));
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json", "browser.mjs", "client.mjs"] {
        fs::copy(scripts.join(file), folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund"]);
    install(npm.current_dir(&folder), &folder, &scripts.join("package-lock.json"))?;
    Ok(folder)
}

fn install_authlib() -> Result<PathBuf, String> {
    let (list, folder) = (Path::new(SCRIPTS).join("python/requirements.txt"), Path::new(FOLDER).join("interop-python"));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]).arg(&folder);
    install(pip.arg("--requirement").arg(&list), &folder, &list)?;
    Ok(folder)
}

/// Installs what a list names, unless the folder has it already.
fn install(command: &mut Command, folder: &Path, list: &Path) -> Result<(), String> {
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

/// The folder; `None` if there is none, which is said on the standard error.
fn ready(installed: &Result<PathBuf, String>) -> Option<&PathBuf> {
    match installed {
        Ok(folder) => Some(folder),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// A script says at its end that it got there.
fn run(command: &mut Command, scenario: &str) {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return skip(&format!("{} can't be started: {error}", command.get_program().to_string_lossy())),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim_end() == format!("done: {scenario}"), "{scenario}: {said}{complaint}");
}
