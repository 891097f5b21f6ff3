//! A service whose sessions begin at login, end at logout, and can't be used by other sites.

use std::cell::RefCell;
use std::collections::BTreeMap;

use reqwest::header::{COOKIE, SET_COOKIE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::form_urlencoded;

use end_to_end::example::{Example, Page};
use end_to_end::postgres::Postgres;

const CLIENTS: &str = r#"[
    {"client_id": "app", "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none"}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const TWO_USERS: &str = r#"{"ada": "correct horse", "bea": "battery"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;
const AUTHORIZE: &str = "/authorize?client_id=app&response_type=code&code_challenge_method=S256\
                         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Keeps every cookie, also those for TLS only, with their attributes.
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
async fn session_cookie_is_set_by_a_form_only() {
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

    // A browser sends no cookie along, and a response that removed one would end the session.
    let other = Cookies::new(&example);
    assert_eq!(other.submit(&form, "/logout", &[]).await.location.as_deref(), Some("/"));
    assert_eq!(other.names(), [""; 0]);
    let entered = [("username", "ada"), ("password", "correct horse")];
    for _ in 0..2 {
        // With the cookie of this browser, the form of another browser is refused, too.
        let page = other.submit(&login, "/login", &entered).await;
        assert_eq!((page.status, page.location), (403, None));
        assert!(page.body.contains("value=\"ada\"") && !page.body.contains("horse"), "{}", page.body);
        assert_eq!(other.names(), ["grantor_form"]);
    }
    assert!(!other.is_logged_in().await && own.is_logged_in().await);
    // The same form with session cookies is refused too: another host of the same site can set cookies.
    let forged = own.send(client().post(example.url("/logout")).form(&[("csrf", "x.y"), ("next", "")])).await;
    assert_eq!((forged.status, forged.location), (403, None));
    assert!(own.is_logged_in().await);
}

// covers: B46
#[tokio::test]
async fn login_form_loaded_before_a_login_still_continues() {
    let example = Example::with(CLIENTS, TWO_USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    let (old, old_request) = (cookies.get("/login?next=/connected").await, cookies.get(AUTHORIZE).await);
    cookies.log_in().await;
    let session = cookies.session();
    // The user is already logged in, so the present session and its open forms stay valid.
    for password in ["correct horse", "wrong"] {
        let page = cookies.submit(&old, "/login", &[("username", "ada"), ("password", password)]).await;
        assert_eq!((page.status, page.location.as_deref()), (303, Some("/connected")));
        assert_eq!(cookies.session(), session);
    }
    let page = cookies.submit(&old_request, "/login", &[("username", "ada"), ("password", "correct horse")]).await;
    let asked = cookies.get(page.location.as_deref().expect("the way back to the request")).await;
    assert!(asked.body.contains("name=\"form_token\""), "{}", asked.body);
    // Another user can log in with the old form and the right password.
    let page = cookies.submit(&old, "/login", &[("username", "bea"), ("password", "wrong")]).await;
    assert!(page.status == 401 && page.body.contains("value=\"bea\""), "{}", page.body);
    let page = cookies.submit(&old, "/login", &[("username", "bea"), ("password", "battery")]).await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/connected")));
    assert!(cookies.session() != session && cookies.get("/").await.body.contains("bea"));
}

// covers: B46
#[tokio::test]
async fn login_form_that_is_sent_twice_still_continues() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    let form = cookies.get(AUTHORIZE).await;
    let entered = [("username", "ada"), ("password", "correct horse")];
    let first = cookies.submit(&form, "/login", &entered).await;
    let second = cookies.submit(&form, "/login", &entered).await;
    assert_eq!((first.status, second.status, &first.location), (303, 303, &second.location));
    // After a logout in another tab, the form leads to the login page again.
    let page = cookies.get("/").await;
    cookies.submit(&page, "/logout", &[]).await;
    assert_eq!(cookies.submit(&form, "/login", &entered).await.location, first.location);
    assert!(cookies.is_logged_in().await);
}

// covers: B46
#[tokio::test]
async fn login_form_without_cookie_keeps_the_typed_values() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    let form = cookies.get(AUTHORIZE).await;
    cookies.kept.borrow_mut().clear();
    let again = cookies.submit(&form, "/login", &[("username", "ada"), ("password", "correct horse")]).await;
    assert_eq!((again.status, &again.location), (403, &None));
    assert!(again.body.contains("value=\"ada\"") && !again.body.contains("correct horse"), "{}", again.body);
    let page = cookies.submit(&again, "/login", &[("username", "ada"), ("password", "correct horse")]).await;
    assert!(page.location.is_some_and(|location| location.starts_with("/authorize?return_target=")));
}

// covers: B46
#[tokio::test]
async fn page_of_an_earlier_session_still_logs_out() {
    let example = Example::with(CLIENTS, TWO_USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    cookies.log_in().await;
    let old = cookies.get("/").await;
    for username in ["ada", "bea"] {
        cookies.submit(&old, "/logout", &[]).await;
        assert!(!cookies.is_logged_in().await, "{username}");
        // The form without a session changes nothing either.
        assert_eq!(cookies.submit(&old, "/logout", &[]).await.status, 303);
        let password = if username == "ada" { "correct horse" } else { "battery" };
        let form = cookies.get("/login").await;
        cookies.submit(&form, "/login", &[("username", username), ("password", password)]).await;
        assert!(cookies.is_logged_in().await, "{username}");
    }
    // A browser that lost its form cookie first sees the form again.
    cookies.kept.borrow_mut().remove("grantor_form");
    let asked = cookies.submit(&old, "/logout", &[]).await;
    assert!(asked.status == 403 && asked.body.contains("Log out?") && cookies.is_logged_in().await, "{}", asked.body);
    assert_eq!(cookies.submit(&asked, "/logout", &[]).await.status, 303);
    assert!(!cookies.is_logged_in().await);
}

// covers: B46
#[tokio::test]
async fn form_of_earlier_session_keeps_the_typed_values() {
    let example = Example::with(CLIENTS, TWO_USERS, SCOPES, &[]);
    let cookies = Cookies::new(&example);
    cookies.log_in().await;
    let (register, connected) = (cookies.get("/applications/new").await, cookies.get("/connected").await);
    let typed =
        [("name", "My <app>"), ("website", "https://app.example"), ("redirect_uri", "https://app.example/callback")];
    cookies.submit(&connected, "/logout", &[]).await;
    // Without a session, no user is known who registers the application.
    let page = cookies.submit(&register, "/applications/new", &typed).await;
    assert_eq!(page.location.as_deref(), Some("/login?next=/applications/new"));
    let page = cookies.submit(&connected, "/connected/revoke-all", &[]).await;
    assert_eq!(page.location.as_deref(), Some("/login?next=/connected"));
    let form = cookies.get("/login").await;
    cookies.submit(&form, "/login", &[("username", "bea"), ("password", "battery")]).await;
    let again = cookies.submit(&register, "/applications/new", &typed).await;
    assert_eq!(again.status, 409);
    for shown in ["My &lt;app&gt;", "https://app.example/callback", "You logged in again", "bea"] {
        assert!(again.body.contains(shown), "{shown}: {}", again.body);
    }
    assert!(!cookies.get("/applications").await.body.contains("My &lt;app&gt;"), "nothing is done without a click");
    let page = cookies.submit(&again, "/applications/new", &typed).await;
    assert!(page.status == 200 && page.body.contains("is registered"), "{}", page.body);

    let again = cookies.submit(&connected, "/connected/revoke-all", &[]).await;
    assert!(
        again.status == 409 && again.body.contains("You are now logged in as <strong><bdi>bea</bdi></strong>"),
        "{}",
        again.body
    );
    assert!(
        again.body.contains("Log out everywhere and end all access?"),
        "the page does not name the action: {}",
        again.body
    );
    assert!(cookies.is_logged_in().await);
    assert_eq!(cookies.submit(&again, "/connected/revoke-all", &[]).await.status, 200);
    assert!(!cookies.is_logged_in().await);
}

#[tokio::test]
async fn form_of_another_browser_changes_no_session() {
    let example = Example::with(CLIENTS, TWO_USERS, SCOPES, &[]);
    let (ada, mallory) = (Cookies::new(&example), Cookies::new(&example));
    ada.log_in().await;
    mallory.log_in().await;
    let (register, connected) = (mallory.get("/applications/new").await, mallory.get("/connected").await);
    let typed = [("name", "Evil"), ("website", ""), ("redirect_uri", "https://evil.example/callback")];
    let page = ada.submit(&register, "/applications/new", &typed).await;
    assert!(page.status == 403 && !page.body.contains("Evil"), "{}", page.body);
    assert_eq!(ada.submit(&connected, "/connected/revoke-all", &[]).await.status, 403);
    assert!(ada.is_logged_in().await);
    assert!(!ada.get("/applications").await.body.contains("Evil"));
    // A planted form cookie does not open the form of a session.
    let planted = mallory.kept.borrow()["grantor_form"].clone();
    ada.kept.borrow_mut().insert("grantor_form".to_owned(), planted);
    let page = ada.submit(&register, "/applications/new", &typed).await;
    assert_eq!(page.status, 409, "ada must first see the form");
    assert!(!ada.get("/applications").await.body.contains("Evil"));
    assert_eq!(ada.submit(&connected, "/connected/revoke-all", &[]).await.status, 409);
    assert!(ada.is_logged_in().await);
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
    // The page does not blame the user, and links back to the request.
    for page in [visitor, late] {
        assert!(page.body.contains("This page can no longer be used"), "{}", page.body);
        let again = page.link("/authorize?return_target=").expect("a way back");
        let asked = cookies.get(&again).await;
        assert!(cookies.submit(&asked, "/consent", &answer).await.answer("code").is_some());
    }
}

// Regression: server and demo client had the same host, and browsers send the cookies of a host to all its ports.
#[tokio::test]
async fn session_cookie_host_differs_from_loopback_redirects() {
    let example = Example::start(&[]);
    let server = url::Url::parse(&example.base).unwrap();
    assert_eq!(server.host_str(), Some("localhost"));
    let redirect = example.introduction.lines().find(|line| line.contains("redirect_uri")).expect("a redirect URI");
    assert!(redirect.contains("http://127.0.0.1/"), "{redirect}");
    assert!(example.introduction.contains(&format!("At {}/demo", example.base)), "{}", example.introduction);
    let metadata = example.url("/.well-known/oauth-authorization-server");
    let metadata: serde_json::Value = reqwest::get(metadata).await.unwrap().json().await.unwrap();
    assert_eq!(metadata["issuer"], example.base);
    let cookies = Cookies::new(&example);
    cookies.get("/login").await;
    let (_, attributes) = &cookies.kept.borrow()["grantor_form"];
    assert!(!attributes.contains("Domain"), "the cookie is for other hosts too: {attributes}");
}

/// A request without its last byte.
async fn all_but_the_end(cookies: &Cookies<'_>, path: &str, fields: &[(String, String)]) -> (TcpStream, String) {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let pairs: Vec<_> = cookies.kept.borrow().iter().map(|(name, (value, _))| format!("{name}={value}")).collect();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncookie: {}\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n",
        pairs.join("; "),
        body.len()
    );
    let (begin, end) = body.split_at(body.len() - 1);
    let mut stream = TcpStream::connect(cookies.example.base.split_once("//").unwrap().1).await.unwrap();
    stream.write_all(format!("{head}{begin}").as_bytes()).await.unwrap();
    (stream, end.to_owned())
}

// Regression: the session was looked up before the body was read, which the sender can delay. A consent form begun
// before "log out everywhere" opened a grant after it.
#[tokio::test]
async fn form_completed_after_logout_decides_nothing() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let (thief, owner) = (Cookies::new(&example), Cookies::new(&example));
    thief.log_in().await;
    owner.log_in().await;
    let page = thief.get(AUTHORIZE).await;
    let mut consent = page.hidden_fields("/consent");
    consent.extend([("scope", "user:read"), ("decision", "approve")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let mut register = thief.get("/applications/new").await.hidden_fields("/applications/new");
    register
        .extend([("name", "Late"), ("redirect_uri", "https://a.example/")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let begun = [
        all_but_the_end(&thief, "/consent", &consent).await,
        all_but_the_end(&thief, "/applications/new", &register).await,
    ];
    // The server has read everything sent so far.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let connected = owner.get("/connected").await;
    assert_eq!(owner.submit(&connected, "/connected/revoke-all", &[]).await.status, 200);
    let mut answers = Vec::new();
    for (mut stream, end) in begun {
        stream.write_all(end.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answers.push(answer);
    }
    assert!(answers[0].starts_with("HTTP/1.1 400 ") && !answers[0].contains("code="), "{}", answers[0]);
    assert!(!answers[1].contains("client_secret"), "{}", answers[1]);
}

// Regression: an approval that waited for the database opened its grant after "log out everywhere". And if the browser
// did not wait for the answer, the sessions ended, and no grant was revoked.
#[tokio::test]
async fn logout_everywhere_during_an_approval_ends_its_grant() {
    let Some(postgres) = Postgres::get() else { return };
    let url = postgres.database().await;
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--storage", &url]);
    let (thief, owner) = (Cookies::new(&example), Cookies::new(&example));
    thief.log_in().await;
    owner.log_in().await;
    let (consent, connected) = (thief.get(AUTHORIZE).await, owner.get("/connected").await);

    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let count = async |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(&pool).await.unwrap();
    // An approval first records that its form was used. A revocation does not need that table.
    let mut busy = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE grantor_ephemeral IN SHARE MODE").execute(&mut *busy).await.unwrap();
    let log_out = async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while count(waiting).await == 0 {}
        let answer = owner.submit(&connected, "/connected/revoke-all", &[]);
        let answer = tokio::time::timeout(std::time::Duration::from_millis(500), answer).await;
        assert!(answer.is_err(), "it does not wait for the approval");
        busy.rollback().await.unwrap();
    };
    let approval = thief.submit(&consent, "/consent", &[("scope", "user:read"), ("decision", "approve")]);
    let (page, ()) = tokio::join!(approval, log_out);
    assert!(page.answer("code").is_some(), "{}", page.body);
    let revoked = async { while count("SELECT count(*) FROM grantor_grants WHERE revoked_at IS NULL").await > 0 {} };
    tokio::time::timeout(std::time::Duration::from_secs(5), revoked).await.expect("the grant is revoked");
    assert!(!thief.is_logged_in().await && !owner.is_logged_in().await);
}
