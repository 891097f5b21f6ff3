//! A simulated browser for the examples.

use reqwest::{StatusCode, redirect};
use url::Url;

use end_to_end::provider::Provider;

/// Keeps cookies and follows no redirect by itself.
pub struct Browser(reqwest::Client);

/// A page of a server.
pub struct Page {
    pub status: StatusCode,
    pub location: Option<Url>,
    /// The value that the page's cookie has.
    pub cookie: Option<String>,
    pub policy: Option<String>,
    pub body: String,
}

impl Browser {
    pub fn new() -> Self {
        Self(reqwest::Client::builder().cookie_store(true).redirect(redirect::Policy::none()).build().unwrap())
    }

    pub async fn get(&self, url: impl reqwest::IntoUrl) -> Page {
        Page::read(self.0.get(url).send().await.unwrap()).await
    }

    /// Submits the only form of a page with its hidden field and these fields, which may replace the hidden field.
    pub async fn submit(&self, provider: &Provider, page: &Page, fields: &[(&str, &str)]) -> Page {
        let action = attribute(&page.body, "<form ", "action");
        let hidden = ["name", "value"].map(|part| attribute(&page.body, "<input type=\"hidden\"", part));
        let is_replaced = fields.iter().any(|(name, _)| *name == hidden[0]);
        let hidden = if is_replaced { None } else { Some((hidden[0], hidden[1])) };
        let fields: Vec<(&str, &str)> = hidden.into_iter().chain(fields.iter().copied()).collect();
        Page::read(self.0.post(provider.url(action)).form(&fields).send().await.unwrap()).await
    }
}

impl Page {
    async fn read(response: reqwest::Response) -> Self {
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let cookie = header("set-cookie").map(|cookie| {
            let (pair, attributes) = cookie.split_once("; ").unwrap();
            assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
            pair.split_once('=').unwrap().1.to_owned()
        });
        let location = header("location").map(|location| response.url().join(&location).unwrap());
        let (status, policy) = (response.status(), header("content-security-policy"));
        Self { status, location, cookie, policy, body: response.text().await.unwrap() }
    }

    /// A parameter of the redirect.
    pub fn answer(&self, name: &str) -> Option<String> {
        let location = self.location.as_ref()?;
        location.query_pairs().find_map(|(own, value)| (own == name).then(|| value.into_owned()))
    }

    pub fn asks_for_a_password(&self) -> bool {
        self.body.contains("name=\"password\"")
    }

    pub fn asks_for_consent(&self) -> bool {
        self.body.contains("value=\"approve\"")
    }
}

/// The value of an attribute of the first tag with this beginning.
fn attribute<'a>(html: &'a str, tag: &str, name: &str) -> &'a str {
    let rest = html.split_once(tag).unwrap_or_else(|| panic!("no {tag} in {html}")).1;
    rest.split_once(&format!("{name}=\"")).and_then(|(_, rest)| rest.split('"').next()).unwrap()
}
