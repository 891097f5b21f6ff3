//! Headless Chromium, driven over `WebDriver`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use end_to_end::skip::skip;

/// Width and height of a window.
pub(crate) type Window = (u32, u32);
pub(crate) const PHONE: Window = (360, 740);
pub(crate) const DESKTOP: Window = (1280, 900);

/// A running driver, stopped when it is dropped.
pub(crate) struct Chromium {
    driver: Child,
    address: String,
}

impl Chromium {
    /// Starts the driver on a free port. Returns `None` and prints a message if there is no browser.
    pub(crate) async fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let spawned = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let driver = match spawned {
            Ok(driver) => driver,
            Err(error) => {
                skip(&format!("chromedriver can't be started: {error}"));
                return None;
            }
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "chromedriver does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self { driver, address: format!("http://127.0.0.1:{port}") })
    }

    /// A fresh browser with a window of this size.
    pub(crate) async fn open(&self, window: Window) -> Client {
        self.open_with(window, true).await
    }

    /// A fresh browser with JavaScript disabled.
    pub(crate) async fn open_without_javascript(&self, window: Window) -> Client {
        self.open_with(window, false).await
    }

    async fn open_with(&self, (width, height): Window, javascript: bool) -> Client {
        let options = json!({
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
            ],
            "prefs": { "profile.managed_default_content_settings.javascript": if javascript { 1 } else { 2 } },
            // A window can't be as narrow as a phone, so emulate a device. Emulated touch hangs without JavaScript.
            "mobileEmulation": { "deviceMetrics": {
                "width": width, "height": height, "pixelRatio": 1.0, "mobile": width < 600, "touch": false,
            } },
        });
        let capabilities = [("goog:chromeOptions".to_owned(), options)].into_iter().collect();
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        builder.connect(&self.address).await.expect("chromium starts")
    }

    pub(crate) async fn close(&self, client: Client) {
        client.close().await.expect("chromium ends");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // A killed driver would leave its browsers running, especially those of a failed test. So ask it to shut down
        // first.
        if let Ok(mut stream) = TcpStream::connect(self.address.trim_start_matches("http://")) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let _ = stream.write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
