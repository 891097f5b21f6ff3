//! A small example as a process of its own.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use url::Url;

pub const NAMES: [&str; 4] = ["axum", "actix", "custom_http", "custom_storage"];

/// Where an example was built, from the sources as they are now.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // target/debug/deps/this-test
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--all-features"]);
        build.args(NAMES.iter().flat_map(|name| ["--example", *name]));
        build.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the examples do not build");
        profile.join("examples")
    });
    folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// A running provider; ends with the value. What it printed is all that a user is told.
pub struct Provider {
    process: Child,
    /// The link to open.
    pub link: Url,
    /// Alice's password, if one is asked for.
    pub password: Option<String>,
    /// The form to send to the token endpoint, but for the code.
    pub token_form: String,
}

impl Provider {
    /// Starts an example on a free port, and reads on until it has told how to ask the API.
    pub fn start(name: &str) -> Self {
        let mut process = Command::new(program(name)).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (mut link, mut password, mut token_form) = (None, None, None);
        loop {
            let said = lines.next().unwrap_or_else(|| panic!("{name} ended")).unwrap();
            if let Some(rest) = said.strip_prefix("open ") {
                link = Some(Url::parse(rest).unwrap());
            } else if let Some(rest) = said.strip_prefix("the password is ") {
                password = Some(rest.to_owned());
            } else if said.contains("/token -d ") {
                token_form = said.split('\'').nth(1).map(str::to_owned);
            } else if said.contains("/me -H ") {
                break;
            }
        }
        Self { process, link: link.expect("a link"), password, token_form: token_form.expect("a form") }
    }

    pub fn url(&self, path: &str) -> String {
        self.link.join(path).unwrap().into()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
