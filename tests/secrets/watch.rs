//! Everything that a reader of logs can see, and the secrets that must not be in it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use grantor::event::Observer;
use grantor::{AccessToken, Event, Response, TokenResponse};

/// Records everything that is shown, and every secret in all its possible spellings.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    watched: Arc<Mutex<Watched>>,
    /// Whether the host's observer panics at the next event.
    pub(crate) observer_panics: Arc<AtomicBool>,
}

#[derive(Default)]
struct Watched {
    shown: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
}

impl Watch {
    /// Records a value that may be logged.
    pub(crate) fn show(&self, what: &str, value: &impl Debug) {
        self.show_text(what, format!("{value:?}"));
        self.show_text(&format!("{what}, over several lines"), format!("{value:#?}"));
    }

    pub(crate) fn show_text(&self, what: &str, text: String) {
        self.watched.lock().unwrap().shown.push((what.to_owned(), text));
    }

    /// Records an error that may be logged with all its causes.
    pub(crate) fn show_error(&self, what: &str, error: &(dyn StdError + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.show(what, &error);
            self.show_text(&format!("{what}, as text"), error.to_string());
            next = error.source();
        }
    }

    /// Records a response, in which its peer may see each of its `own` secrets in one place, and no other secret.
    pub(crate) fn show_answer(&self, what: &str, answer: &Response, own: &[&str]) {
        self.show(&format!("answer: {what}"), answer);
        let headers: Vec<_> = answer.headers().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = String::from_utf8_lossy(answer.body());
        let mut text = format!("{}\n{}\n\n{body}", answer.status(), headers.join("\n"));
        for own in own {
            assert_eq!(text.matches(own).count(), 1, "{what}: {text}");
            text = text.replacen(own, "", 1);
        }
        self.show_text(&format!("all of the answer: {what}"), text);
    }

    /// Adds a text that must not appear anywhere, in any of its usual spellings.
    pub(crate) fn keep(&self, what: &str, secret: &str) {
        self.keep_bytes(what, secret.as_bytes());
        let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for spelling in [secret.to_owned(), escaped, secret.escape_debug().to_string()] {
            self.keep_spelling(what, spelling);
        }
        // A token of the library is the text of encoded bytes.
        if let Ok(bytes) = URL_SAFE_NO_PAD.decode(secret)
            && bytes.len() == 32
        {
            self.keep_bytes(what, &bytes);
        }
    }

    pub(crate) fn keep_bytes(&self, what: &str, bytes: &[u8]) {
        let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let percent = format!("%{}", hex.join("%"));
        let list = format!("{bytes:?}");
        let list = list.trim_matches(['[', ']']).to_owned();
        for spelling in [hex.concat(), hex.concat().to_uppercase(), percent.to_uppercase(), percent, list] {
            self.keep_spelling(what, spelling);
        }
        for engine in [URL_SAFE_NO_PAD, URL_SAFE, STANDARD_NO_PAD, STANDARD] {
            self.keep_spelling(what, engine.encode(bytes));
        }
        // Within longer base64 text, the characters differ if one or two bytes come before.
        for before in 0..3 {
            for engine in [URL_SAFE_NO_PAD, STANDARD_NO_PAD] {
                let text = engine.encode([vec![0; before], bytes.to_vec()].concat());
                let (own, whole) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
                self.keep_spelling(what, text[own..whole].to_owned());
            }
        }
    }

    fn keep_spelling(&self, what: &str, spelling: String) {
        assert!(spelling.len() >= 8, "too short to be looked for: {what}");
        let mut watched = self.watched.lock().unwrap();
        let secret = (what.to_owned(), spelling);
        if !watched.secrets.contains(&secret) {
            watched.secrets.push(secret);
        }
    }

    pub(crate) fn keep_tokens(&self, what: &str, tokens: &TokenResponse) {
        self.show(what, tokens);
        self.keep(&format!("access token: {what}"), tokens.access_token.expose());
        if let Some(refresh_token) = &tokens.refresh_token {
            self.keep(&format!("refresh token: {what}"), refresh_token.expose());
        }
    }

    /// The names of secrets, each with one spelling to search for.
    pub(crate) fn secrets(&self) -> Vec<(String, String)> {
        self.watched.lock().unwrap().secrets.clone()
    }

    pub(crate) fn has_shown(&self, what: &str) -> bool {
        self.watched.lock().unwrap().shown.iter().any(|(name, _)| name.starts_with(what))
    }

    pub(crate) fn assert_nothing_leaked(&self) {
        let (needles, watched) = (Needles::new(&self.secrets(), &[]), self.watched.lock().unwrap());
        for (what, text) in &watched.shown {
            if let Some((secret, _)) = needles.find_in(text) {
                panic!("{what} shows the {secret}:\n{text}");
            }
        }
    }

    /// Asserts that a text shows no secret, except the secrets in `but_for`.
    pub(crate) fn assert_none_in(&self, place: &str, text: &str, but_for: &[&str]) {
        if let Some((secret, at)) = Needles::new(&self.secrets(), but_for).find_in(text) {
            panic!(
                "{place} shows the {secret}:\n{}",
                &text[boundary(text, at.saturating_sub(200))..boundary(text, at + 200)]
            );
        }
    }
}

/// Thousands of texts, searched in one pass over millions of characters.
struct Needles(HashMap<[u8; 2], Vec<(String, String)>>);

impl Needles {
    fn new(secrets: &[(String, String)], but_for: &[&str]) -> Self {
        let mut needles: HashMap<_, Vec<_>> = HashMap::new();
        for (secret, spelling) in secrets {
            if !but_for.contains(&secret.as_str()) {
                let start = spelling.as_bytes()[..2].try_into().unwrap();
                needles.entry(start).or_default().push((secret.clone(), beginning(spelling).to_owned()));
            }
        }
        Self(needles)
    }

    /// The secret that the text contains, and its position.
    fn find_in(&self, text: &str) -> Option<(&str, usize)> {
        let bytes = text.as_bytes();
        bytes.windows(2).enumerate().find_map(|(at, start)| {
            let found = self.0.get(start)?.iter().find(|(_, spelling)| bytes[at..].starts_with(spelling.as_bytes()))?;
            Some((found.0.as_str(), at))
        })
    }
}

/// Logs truncate long values, and still show most of them.
fn beginning(spelling: &str) -> &str {
    &spelling[..boundary(spelling, 24)]
}

/// The last position up to `at` that splits no character.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

impl Observer for Watch {
    fn observe(&self, event: &Event<'_>) {
        self.show(&format!("event {}", event.kind.name()), event);
        self.show(event.kind.name(), &event.kind);
        assert!(!self.observer_panics.swap(false, Ordering::SeqCst), "the host's observer fell over");
    }
}

/// A search that finds nothing would pass all other tests. So this test leaks secrets on purpose.
#[test]
fn watch_finds_a_secret_in_each_spelling() {
    let token = AccessToken::new(URL_SAFE_NO_PAD.encode([0xfb; 32]));
    let percent = token.expose().bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02X}"));
    let spellings = [
        token.expose().to_owned(),
        STANDARD.encode([0xfb; 32]),
        "fb".repeat(32),
        "FB".repeat(32),
        percent,
        format!("{:?}", [0xfb_u8; 32]),
        format!("Bearer {}, and more", token.expose()),
        STANDARD.encode(format!("Bearer {}, and more", token.expose())),
        URL_SAFE_NO_PAD.encode(format!("a{}b", token.expose())),
        URL_SAFE_NO_PAD.encode(format!("ab{}c", token.expose())),
        format!("{}..", &token.expose()[..24]),
    ];
    for spelling in spellings {
        let watch = Watch::default();
        watch.keep("token", token.expose());
        watch.show("a log", &spelling);
        let noticed = std::panic::catch_unwind(|| watch.assert_nothing_leaked());
        assert!(noticed.is_err(), "{spelling}");
        let noticed = std::panic::catch_unwind(|| watch.assert_none_in("a log", &spelling, &[]));
        assert!(noticed.is_err(), "{spelling}");
    }
}
