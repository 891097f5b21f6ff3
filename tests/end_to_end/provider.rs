//! A small example as a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use url::Url;

/// A running provider, killed when it is dropped. Its fields are the printed instructions.
pub struct Provider {
    process: Child,
    /// The link to open.
    pub link: Url,
    /// Alice's password, if the example asks for one.
    pub password: Option<String>,
    /// The form for the token endpoint, without the code.
    pub token_form: String,
}

impl Provider {
    /// Starts an example on a free port, and reads its output up to the instructions for the API.
    pub fn start(name: &str) -> Self {
        Self::run(name, &mut Command::new(crate::built(name)))
    }

    /// Starts an example that can have at most this many files and connections open.
    pub fn with_files(name: &str, most: u32) -> Self {
        let limited = format!("ulimit -n {most} && exec \"$0\" \"$@\"");
        Self::run(name, Command::new("sh").arg("-c").arg(limited).arg(crate::built(name)))
    }

    fn run(name: &str, command: &mut Command) -> Self {
        let mut process = command.arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
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

    /// Returns how many files and connections the process has open. A process that has ended has none.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).map_or(0, Iterator::count)
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
