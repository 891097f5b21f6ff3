//! Clients in other languages: scripts in this folder that use a published package.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use end_to_end::example::Example;
use end_to_end::packages::{install, npm};
use end_to_end::skip::skip;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop");
/// This folder is kept after a run, so packages are fetched once for each version of their list.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");

/// Runs a scenario of `node/client.mjs`.
pub(crate) fn openid_client(example: &Example, scenario: &str) {
    silent(node("client.mjs", &[&example.base, scenario]), scenario);
}

/// Runs a scenario of `python/client.py`.
pub(crate) fn authlib(example: &Example, scenario: &str) {
    silent(python("client.py", &[&example.base, scenario]), scenario);
}

/// Runs a scenario of `node/tokens.mjs`; returns the printed lines. `None` if there is no Node.
pub(crate) fn jose(base: &str, scenario: &str, arguments: &[&str]) -> Option<Vec<String>> {
    node("tokens.mjs", &[&[base, scenario], arguments].concat())
}

/// Runs a scenario of `python/tokens.py`, as [`jose`] does.
pub(crate) fn joserfc(base: &str, scenario: &str, arguments: &[&str]) -> Option<Vec<String>> {
    python("tokens.py", &[&[base, scenario], arguments].concat())
}

/// Runs a script of the folder `node` with these arguments: the address of the server, the scenario, and those of the
/// scenario. Returns the printed lines. `None` if there is no Node.
pub(crate) fn node(script: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let folder = ready(openid_client_folder())?;
    lines(Command::new("node").arg(folder.join(script)).args(arguments), arguments[1])
}

/// Runs a script of the folder `python`, as [`node`] does.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Option<Vec<String>> {
    let folder = ready(python_folder())?;
    // -B: nothing is written beside the script.
    let mut python = Command::new("python3");
    python.arg("-B").arg(Path::new(SCRIPTS).join("python").join(script)).env("PYTHONPATH", folder);
    lines(python.args(arguments), arguments[1])
}

fn openid_client_folder() -> &'static Result<PathBuf, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOLDER.get_or_init(install_openid_client)
}

fn python_folder() -> &'static Result<PathBuf, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOLDER.get_or_init(install_python_packages)
}

fn install_openid_client() -> Result<PathBuf, String> {
    let folder = Path::new(FOLDER).join("interop-node");
    npm(&Path::new(SCRIPTS).join("node"), &folder, &["browser.mjs", "client.mjs", "keys.mjs", "tokens.mjs"])?;
    Ok(folder)
}

fn install_python_packages() -> Result<PathBuf, String> {
    let (list, folder) = (Path::new(SCRIPTS).join("python/requirements.txt"), Path::new(FOLDER).join("interop-python"));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target"]).arg(&folder);
    install(pip.arg("--requirement").arg(&list), &folder, &list)?;
    Ok(folder)
}

/// The folder. `None`, with a message on standard error, if there is none.
fn ready(installed: &Result<PathBuf, String>) -> Option<&PathBuf> {
    match installed {
        Ok(folder) => Some(folder),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// Checks that a script, if it could run, printed nothing.
fn silent(lines: Option<Vec<String>>, scenario: &str) {
    assert!(lines.is_none_or(|lines| lines.is_empty()), "{scenario} printed more than its end");
}

/// Runs a script, which prints a mark at its end; returns the lines before that. `None` if it can't be started.
fn lines(command: &mut Command, scenario: &str) -> Option<Vec<String>> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            skip(&format!("{} can't be started: {error}", command.get_program().to_string_lossy()));
            return None;
        }
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let mut lines: Vec<String> = said.lines().map(str::to_owned).collect();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let done = lines.pop().is_some_and(|last| last == format!("done: {scenario}"));
    assert!(output.status.success() && done, "{scenario}: {said}{complaint}");
    Some(lines)
}
