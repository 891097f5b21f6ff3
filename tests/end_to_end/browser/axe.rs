//! axe-core, which finds barriers for people who use a keyboard or a screen reader, or have weak eyesight.

use std::path::Path;
use std::sync::OnceLock;
use std::{env, fs};

use end_to_end::packages::npm;
use end_to_end::skip::skip;
use fantoccini::Client;
use fantoccini::wd::WebDriverCompatibleCommand;
use hyper::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// How a browser shows a page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) scheme: &'static str,
    pub(crate) width: u32,
}

/// The light scheme on a wide screen, and the dark one on a screen that is as narrow as WCAG 2.2, 1.4.10 asks for.
pub(crate) const VIEWS: [View; 2] = [View { scheme: "light", width: 1280 }, View { scheme: "dark", width: 320 }];

/// WCAG 2.0, 2.1 and 2.2 up to level AA, and further recommendations of axe.
const TAGS: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// A browser whose pages are audited.
pub(crate) struct Auditor {
    page: Client,
    axe: &'static str,
}

impl Auditor {
    /// `None`, with a message on standard error, if axe-core can't be installed.
    pub(crate) fn new(page: Client) -> Option<Self> {
        static AXE: OnceLock<Result<String, String>> = OnceLock::new();
        match AXE.get_or_init(installed) {
            Ok(axe) => Some(Self { page, axe }),
            Err(why) => {
                skip(why);
                None
            }
        }
    }

    /// Audits the current page in each view. Unfolds all parts of it first.
    pub(crate) async fn passes(&self, name: &str) {
        let unfold = "document.querySelectorAll('details').forEach(part => part.open = true)";
        self.page.execute(unfold, Vec::new()).await.unwrap();
        for view in VIEWS {
            let found = self.violations(view).await;
            self.save_picture(name, view).await;
            assert!(found.is_empty(), "{name} in {view:?}: {found:#?}\n{}", self.page.source().await.unwrap());
            crate::fits(&self.page).await;
        }
    }

    /// Returns the rules that the page breaks, each with its elements.
    pub(crate) async fn violations(&self, view: View) -> Vec<String> {
        emulate(&self.page, view).await;
        self.page.execute(self.axe, Vec::new()).await.unwrap();
        let script = "
            const [tags, done] = arguments;
            const text = rule => `${rule.id}: ${rule.nodes.map(node => node.html).join(' ')}`;
            axe.run({ runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] }).then(
                found => done(found.violations.map(text)),
                error => done([String(error)]),
            )";
        let found = self.page.execute_async(script, vec![json!(TAGS)]).await.unwrap();
        serde_json::from_value(found).unwrap()
    }

    /// Saves a picture of the page if `GRANTOR_PICTURES` names a folder.
    async fn save_picture(&self, name: &str, View { scheme, width }: View) {
        let Some(folder) = env::var_os("GRANTOR_PICTURES") else { return };
        let height = self.page.execute("return document.documentElement.scrollHeight", Vec::new()).await.unwrap();
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        command(&self.page, "Emulation.setDeviceMetricsOverride", size).await;
        let picture = self.page.screenshot().await.unwrap();
        fs::write(Path::new(&folder).join(format!("{name} {scheme} {width}.png")), picture).unwrap();
        emulate(&self.page, View { scheme, width }).await;
    }
}

fn installed() -> Result<String, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
    npm(&Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/axe"), &folder, &[])?;
    fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).map_err(|error| error.to_string())
}

async fn emulate(page: &Client, View { scheme, width }: View) {
    let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
    command(page, "Emulation.setEmulatedMedia", features).await;
    let size = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
    command(page, "Emulation.setDeviceMetricsOverride", size).await;
}

/// Makes the browser ask for a language.
pub(crate) async fn prefer_language(page: &Client, language: &str) {
    command(page, "Network.enable", json!({})).await;
    command(page, "Network.setExtraHTTPHeaders", json!({ "headers": { "Accept-Language": language } })).await;
}

/// A command of the `DevTools` protocol. `WebDriver` can't emulate colour schemes.
#[derive(Debug)]
struct DevTools {
    name: &'static str,
    parameters: Value,
}

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, driver: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        driver.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "cmd": self.name, "params": self.parameters }).to_string()))
    }
}

async fn command(page: &Client, name: &'static str, parameters: Value) {
    page.issue_cmd(DevTools { name, parameters }).await.unwrap_or_else(|error| panic!("{name}: {error}"));
}
