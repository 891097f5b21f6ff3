//! A service whose sessions begin at login, end at logout, and can't be used by other sites.

use std::cell::RefCell;
use std::collections::BTreeMap;

use reqwest::header::{COOKIE, SET_COOKIE};

use end_to_end::example::{Example, Page};

const CLIENTS: &str = r#"[
    {"client_id": "app", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;
const AUTHORIZE: &str = "/authorize?client_id=app&response_type=code&code_challenge_method=S256\
                         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Keeps every cookie, also one for TLS only, and what the server said with it.
struct Cookies<'a> {
    example: &'a Example,
    /// Names, values and attributes.
    kept: RefCell<BTreeMap<String, (String, String)>>,
    /// The `Set-Cookie` lines of the last answer.
    lines: RefCell<Vec<String>>,
}

impl<'a> Cookies<'a> {
    fn new(example: &'a Example) -> Self {
        Self { example, kept: RefCell::default(), lines: RefCell::default() }
    }

    async fn get(&self, path: &str) -> Page {
        self.send(client().get(self.example.url(path))).await
    }

    async fn submit(&self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let mut all = page.hidden_fields(action);
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.send(client().post(self.example.url(action)).form(&all)).await
    }

    async fn log_in(&self) -> Page {
        let form = self.get("/login").await;
        self.submit(&form, "/login", &[("username", "ada"), ("password", "correct horse")]).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Page {
        let pairs: Vec<String> =
            self.kept.borrow().iter().map(|(name, (value, _))| format!("{name}={value}")).collect();
        let answer = request.header(COOKIE, pairs.join("; ")).send().await.unwrap();
        let lines = answer.headers().get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned());
        *self.lines.borrow_mut() = lines.collect();
        for line in &*self.lines.borrow() {
            let (name, rest) = line.split_once('=').unwrap();
            let (value, attributes) = rest.split_once("; ").unwrap();
            self.kept.borrow_mut().insert(name.to_owned(), (value.to_owned(), attributes.to_owned()));
        }
        Page::read(answer).await
    }

    fn names(&self) -> Vec<String> {
        self.kept.borrow().keys().cloned().collect()
    }

    fn session(&self) -> String {
        self.kept.borrow()["grantor_session"].0.clone()
    }

    fn set_session(&self, id: &str) {
        self.kept.borrow_mut().insert("grantor_session".to_owned(), (id.to_owned(), String::new()));
    }

    async fn is_logged_in(&self) -> bool {
        self.get("/connected").await.status == 200
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test]
async fn session_cookies_are_for_this_host_and_browser_only() {
    for (flags, names, secure) in [
        (&[][..], ["grantor_form", "grantor_session"], ""),
        (&["--issuer", "https://id.example/"], ["__Host-grantor_form", "__Host-grantor_session"], "Secure; "),
    ] {
        let example = Example::with(CLIENTS, USERS, SCOPES, flags);
        let cookies = Cookies::new(&example);
        assert_eq!(cookies.log_in().await.status, 303);
        assert_eq!(cookies.names(), names);
        for (name, (_, attributes)) in &*cookies.kept.borrow() {
            assert_eq!(*attributes, format!("HttpOnly; SameSite=Lax; {secure}Path=/"), "{name}");
        }
        let page = cookies.get("/connected").await;
        assert_eq!(cookies.submit(&page, "/logout", &[]).await.status, 303);
        let removed = format!("{}=; HttpOnly; SameSite=Lax; {secure}Path=/; Max-Age=0", names[1]);
        assert!(cookies.lines.borrow().contains(&removed), "{:?}", cookies.lines);
    }
}

#[tokio::test]
async fn visitor_has_no_session_and_only_a_form_sets_a_cookie() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    for path in ["/", "/connected", "/nothing"] {
        cookies.get(path).await;
        assert_eq!(cookies.names(), [""; 0], "{path}");
    }
    cookies.get("/login").await;
    assert_eq!(cookies.names(), ["grantor_form"]);
}

#[tokio::test]
async fn login_and_logout_end_the_old_session_identifier() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    let planted = "AAAAAAAAAAAAAAAAAAAAAA";
    cookies.set_session(planted);
    cookies.log_in().await;
    let first = cookies.session();
    assert!(first != planted && cookies.is_logged_in().await);

    let page = cookies.get("/").await;
    let left = cookies.submit(&page, "/logout", &[]).await;
    assert_eq!((left.status, cookies.session().as_str()), (303, ""));
    cookies.log_in().await;
    assert!(cookies.session() != first && cookies.is_logged_in().await);
    for dead in [planted, &first] {
        cookies.set_session(dead);
        assert!(!cookies.is_logged_in().await, "{dead}");
    }
}

#[tokio::test]
async fn form_of_another_site_neither_logs_in_nor_out() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let own = Cookies::new(&example);
    own.log_in().await;
    let form = own.get("/").await;
    let visitor = Cookies::new(&example);
    let login = visitor.get("/login").await;

    // A browser sends no cookie along, and an answer that set one would end the session.
    let other = Cookies::new(&example);
    assert_eq!(other.submit(&form, "/logout", &[]).await.status, 403);
    let entered = [("username", "ada"), ("password", "correct horse")];
    assert_eq!(other.submit(&login, "/login", &entered).await.status, 403);
    assert_eq!(other.names(), [""; 0]);
    // With its own cookie, the form of another browser is refused, too.
    other.get("/login").await;
    assert_eq!(other.submit(&login, "/login", &entered).await.status, 403);
    assert!(own.is_logged_in().await);
}

// covers: B47, B60
#[tokio::test]
async fn consent_form_of_an_earlier_session_is_refused() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    cookies.log_in().await;
    let consent = cookies.get(AUTHORIZE).await;
    let answer = [("scope", "user:read"), ("decision", "approve")];
    assert!(cookies.submit(&consent, "/consent", &answer).await.answer("code").is_some());
    let twice = cookies.submit(&consent, "/consent", &answer).await;
    assert!(twice.status == 400 && twice.body.contains("You have already answered"), "{}", twice.body);

    cookies.submit(&consent, "/logout", &[]).await;
    let visitor = cookies.submit(&consent, "/consent", &answer).await;
    assert_eq!((visitor.status, &visitor.location), (400, &None));
    cookies.log_in().await;
    let late = cookies.submit(&consent, "/consent", &answer).await;
    assert_eq!((late.status, &late.location), (400, &None));
    // Nobody is blamed, and the page leads back to the request.
    for page in [visitor, late] {
        assert!(page.body.contains("This page can\u{2019}t be used any more"), "{}", page.body);
        let again = page.link("/authorize?return_target=").expect("a way back");
        let asked = cookies.get(&again).await;
        assert!(cookies.submit(&asked, "/consent", &answer).await.answer("code").is_some());
    }
}

// From the security review, 31: a browser sends the cookies of a host to each of its ports.
#[tokio::test]
async fn session_cookie_is_of_another_host_than_redirects_on_this_device() {
    let example = Example::start(&[]);
    let server = url::Url::parse(&example.base).unwrap();
    assert_eq!(server.host_str(), Some("localhost"));
    let redirect = example.introduction.lines().find(|line| line.contains("redirect_uri")).expect("a redirect URI");
    assert!(redirect.contains("http://127.0.0.1/"), "{redirect}");
    assert!(example.introduction.contains(&format!("Open {}/demo", example.base)), "{}", example.introduction);
    let metadata = example.url("/.well-known/oauth-authorization-server");
    let metadata: serde_json::Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], example.base);
    let cookies = Cookies::new(&example);
    cookies.get("/login").await;
    let (_, attributes) = &cookies.kept.borrow()["grantor_form"];
    assert!(!attributes.contains("Domain"), "a cookie of this host alone: {attributes}");
}
