//! The example server as a process, and a simulated browser to use it.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::redirect;
use url::Url;

/// A running example server, killed when it is dropped.
pub struct Example {
    process: Child,
    /// Its address, without a slash at the end.
    pub base: String,
    /// The text that it prints when it is ready.
    pub introduction: String,
}

impl Example {
    /// Starts it on a free port and waits until it is ready. Keeps everything in memory unless the flags name a
    /// storage.
    pub fn start(flags: &[&str]) -> Self {
        let flags = [in_memory_unless_said(flags), flags].concat();
        Self::start_in(&std::env::temp_dir(), &flags)
    }

    /// Starts it in a directory with these flags, on a free port unless the flags set an address.
    pub fn start_in(directory: &Path, flags: &[&str]) -> Self {
        let anywhere: &[&str] = if flags.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut process = Command::new(crate::built("server"))
            .current_dir(directory)
            .args(anywhere)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut introduction = String::new();
        // The last line reports that data is kept in memory.
        while !introduction.lines().last().is_some_and(|line| line.contains(" in memory")) {
            let read = output.read_line(&mut introduction).unwrap();
            assert!(read > 0, "the server ended: {introduction:?}");
        }
        let first = introduction.lines().next().unwrap();
        let base = first.strip_prefix("listening on ").unwrap_or_else(|| panic!("first line: {first:?}")).to_owned();
        // The output is drained, so the server does not block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        Self { process, base, introduction }
    }

    /// Runs it with flags that make it do one task and exit. Returns its output.
    pub fn command(flags: &[&str]) -> String {
        let output = Command::new(crate::built("server"))
            .current_dir(std::env::temp_dir())
            .args(flags)
            .output()
            .expect("the server starts");
        assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts it with flags that it refuses; returns the error.
    pub fn refusal(flags: &[&str]) -> String {
        let output = Command::new(crate::built("server"))
            .current_dir(std::env::temp_dir())
            .args(in_memory_unless_said(flags))
            .args(flags)
            .output()
            .expect("the server starts");
        assert!(!output.status.success(), "{flags:?} are not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts the server with flags, ends it when it is ready, and returns its standard error.
    pub fn complaints(flags: &[&str]) -> String {
        let mut process = Command::new(crate::built("server"))
            .current_dir(std::env::temp_dir())
            .args(["--listen", "127.0.0.1:0"])
            .args(in_memory_unless_said(flags))
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        process.kill().unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(first.starts_with("listening on "), "{first:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts it with clients, users and scopes as JSON, and more flags.
    pub fn with(clients: &str, users: &str, scopes: &str, flags: &[&str]) -> Self {
        let folder = Folder::new();
        let clients = folder.file("clients.json", clients);
        let users = folder.file("users.json", users);
        let scopes = folder.file("scopes.json", scopes);
        let files = ["--clients", &clients, "--users", &users, "--scopes", &scopes];
        Self::start(&[&files, flags].concat())
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Kills it as `kill -9` does, at any point of its work. Returns when the process has ended.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[cfg(unix)]
impl Example {
    /// Stops it as a service manager does; returns when it has exited.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.process.wait().unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The flags that keep a server without a storage flag from leaving a file behind.
fn in_memory_unless_said(flags: &[&str]) -> &'static [&'static str] {
    if flags.contains(&"--storage") { &[] } else { &["--storage", "memory"] }
}

/// A folder, removed when it is dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("grantor-test-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.into_os_string().into_string().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A simulated browser: follows no redirect by itself, keeps cookies, and fills in forms.
pub struct Browser {
    http: reqwest::Client,
    base: String,
}

/// A page of the server.
pub struct Page {
    pub status: u16,
    pub location: Option<String>,
    pub content_security_policy: Option<String>,
    pub retry_after: Option<String>,
    pub body: String,
}

impl Browser {
    pub fn new(example: &Example) -> Self {
        Self::at(example, Ipv4Addr::LOCALHOST)
    }

    /// A browser with its own IP address. Only Linux has more than one loopback address without setup.
    pub fn at(example: &Example, address: Ipv4Addr) -> Self {
        let http = reqwest::Client::builder().cookie_store(true).redirect(redirect::Policy::none());
        // A kept connection may belong to a server that was stopped.
        let http = http.local_address(IpAddr::V4(address)).pool_max_idle_per_host(0).build().unwrap();
        Self { http, base: example.base.clone() }
    }

    pub async fn get(&self, path: &str) -> Page {
        Page::read(self.http.get(self.absolute(path)).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, fields: &[(String, String)]) -> Page {
        Page::read(self.http.post(self.absolute(path)).form(fields).send().await.unwrap()).await
    }

    /// Sends this text as a form, even if it is not one.
    pub async fn post_text(&self, path: &str, text: &str) -> Page {
        let request = self.http.post(self.absolute(path)).header("content-type", "application/x-www-form-urlencoded");
        Page::read(request.body(text.to_owned()).send().await.unwrap()).await
    }

    /// Submits the form of `page` with this `action`, with its hidden fields and these.
    pub async fn submit(&self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = page.hidden_fields(action);
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.post(action, &all).await
    }

    /// Follows redirects within this server.
    pub async fn follow(&self, mut page: Page) -> Page {
        while let Some(location) = page.location.take() {
            let location = location.strip_prefix(&self.base).unwrap_or(&location).to_owned();
            assert!(location.starts_with('/'), "the redirect leaves the server: {location}");
            page = self.get(&location).await;
        }
        page
    }

    /// Opens a path that needs a login, logs in, and returns the page that follows.
    pub async fn open_as(&self, path: &str, username: &str, password: &str) -> Page {
        let page = self.get(path).await;
        let page = self.follow(page).await;
        assert!(page.body.contains("name=\"password\""), "no login form at {path}: {}", page.body);
        let page = self.submit(&page, "/login", &[("username", username), ("password", password)]).await;
        self.follow(page).await
    }

    fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

impl Page {
    pub async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (location, content_security_policy) = (header("location"), header("content-security-policy"));
        let retry_after = header("retry-after");
        Self { status, location, content_security_policy, retry_after, body: response.text().await.unwrap() }
    }

    /// A parameter of the redirect, from its query or its fragment.
    pub fn answer(&self, name: &str) -> Option<String> {
        let location = Url::parse(self.location.as_deref()?).unwrap();
        let parts = [location.query(), location.fragment()];
        let mut pairs = parts.into_iter().flatten().flat_map(|part| url::form_urlencoded::parse(part.as_bytes()));
        pairs.find_map(|(own, value)| (own == name).then(|| value.into_owned()))
    }

    /// The target of the first link with this beginning.
    pub fn link(&self, begin: &str) -> Option<String> {
        let tags = self.body.split("<a ").skip(1).map(|tag| attribute(tag, "href"));
        tags.into_iter().find(|href| href.starts_with(begin))
    }

    /// The texts that the page offers for copying.
    pub fn codes(&self) -> Vec<&str> {
        let tags = self.body.split("<code").skip(1).filter_map(|tag| tag.split_once('>'));
        tags.filter_map(|(_, rest)| rest.split("</code>").next()).collect()
    }

    /// The names and values of the hidden fields in the form with this `action`.
    pub fn hidden_fields(&self, action: &str) -> Vec<(String, String)> {
        let form = self.body.split("<form").find(|form| form.contains(&format!("action=\"{action}\"")));
        let form = form.unwrap_or_else(|| panic!("no form leads to {action}: {}", self.body));
        let form = form.split("</form>").next().unwrap();
        let inputs = form.split("<input").skip(1).filter(|input| input.contains("type=\"hidden\""));
        inputs.map(|input| (attribute(input, "name"), attribute(input, "value"))).collect()
    }
}

/// The value of an attribute in the rest of a tag.
fn attribute(tag: &str, name: &str) -> String {
    let value = tag.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    let value = value.unwrap_or_else(|| panic!("no {name} in <input{tag}"));
    value.replace("&quot;", "\"").replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
