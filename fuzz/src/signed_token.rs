//! The bearer check with signed access tokens, and with texts that look like signed tokens.
//!
//! The first byte of the input selects the signer: `o` is the key of the server, `f` a foreign key, and `n` no key, so
//! that the input contains the signature. With `t`, the rest of the input is the whole token. The next lines are the
//! header, the claims and, for `n`, the signature. `$h` and `$p` stand for the header and the claims of a live token,
//! `$j` for its identifier, `$t` for the token, and `$k` for the `kid`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::customizer::RESERVED_MEMBERS;
use grantor::jose::{Algorithm, KeyRing, Signer, SigningKey};
use grantor::testing::{TestClient, TestServer};
use grantor::{AccessToken, ProtectedResource, SigningKeys, TokenRequest};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::world::block_on;

pub const OUTCOMES: [&str; 4] = ["works", "signed by the server and refused", "signed by others", "not signed"];

struct World {
    server: TestServer,
    own: std::sync::Arc<SigningKey>,
    foreign: SigningKey,
    token: String,
}

thread_local! {
    /// The check changes nothing, so all inputs share one world.
    static WORLD: World = block_on(World::new());
}

pub fn check(data: &[u8]) -> &'static str {
    WORLD.with(|world| block_on(world.check(data)))
}

impl World {
    async fn new() -> Self {
        let key = || SigningKey::generate(Algorithm::EdDsa).expect("a key");
        let own = std::sync::Arc::new(key());
        let ring = KeyRing::new().sign_with(own.clone()).build().expect("a ring");
        let server = TestServer::with(|builder| {
            let builder = builder.protected_resource(ProtectedResource::new("https://api.example"));
            builder.signing_keys(SigningKeys::new(ring).sign_access_tokens())
        });
        let app: TestClient = server.confidential_client_with(|app| app.client_credentials().scope("user:read")).await;
        let token =
            server.token_as(&app, TokenRequest::client_credentials().scope("user:read")).await.expect("a token");
        Self { server, own, foreign: key(), token: token.access_token.expose().to_owned() }
    }

    fn part(&self, number: usize) -> Vec<u8> {
        let part = self.token.split('.').nth(number).expect("a token has three parts");
        URL_SAFE_NO_PAD.decode(part).expect("base64url")
    }

    async fn check(&self, data: &[u8]) -> &'static str {
        let (first, rest) = data.split_first().unwrap_or((&b'n', &[]));
        let rest = self.spliced(rest);
        let mut lines = rest.split(|byte| *byte == b'\n');
        let mut line = || lines.next().unwrap_or_default();
        let (text, signer) = if *first == b't' {
            (String::from_utf8_lossy(&rest).into_owned(), None)
        } else {
            let (header, claims) = (line(), line());
            let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let signer = match first {
                b'o' => Some(&*self.own),
                b'f' => Some(&self.foreign),
                _ => None,
            };
            let signature = match signer {
                Some(key) => key.sign(input.as_bytes()).await.expect("a signature").as_bytes().to_vec(),
                None => line().to_vec(),
            };
            (format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)), signer)
        };
        let works = self.server.bearer(&AccessToken::new(text.clone())).await.is_ok();
        let is_own = signer.is_some_and(|key| std::ptr::eq(key, &raw const *self.own));
        // Ed25519 signatures are deterministic, so the live token is the only text with its header and claims.
        let expected = text == self.token || is_own && self.is_good(&text);
        assert_eq!(works, expected, "{text}");
        match (works, signer) {
            (true, _) => "works",
            (false, Some(_)) if is_own => "signed by the server and refused",
            (false, Some(_)) => "signed by others",
            (false, None) => "not signed",
        }
    }

    /// Returns whether a text that is signed by the server agrees with the live token.
    fn is_good(&self, text: &str) -> bool {
        let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
        let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (Some(header), Some(claims)) = (object(&header), object(&claims)) else { return false };
        let text_of = |name: &str| header.get(name).map(|value| value.as_str());
        let typ = text_of("typ").flatten().map(str::to_ascii_lowercase);
        let is_typ = matches!(typ.as_deref(), Some("at+jwt" | "application/at+jwt"));
        let own_id = self.own.public_key().id();
        // The algorithm has two names (RFC 9864 §2.2).
        let is_alg = matches!(text_of("alg").flatten(), Some("EdDSA" | "Ed25519"));
        let fits = is_alg
            && is_typ
            && text_of("kid").is_none_or(|id| id == own_id)
            && !header.contains_key("crit")
            && !header.contains_key("b64");
        let own: Map<String, Value> = object(&self.part(1)).expect("the claims of the token");
        fits && text.len() <= 16 * 1024
            && claims.contains_key("jti")
            && claims.contains_key("iss")
            && claims.iter().all(|(name, value)| match own.get(name) {
                Some(own) => own == value,
                // A newer version may add claims.
                None => RESERVED_MEMBERS.contains(&name.as_str()),
            })
    }

    fn spliced(&self, text: &[u8]) -> Vec<u8> {
        let claims = self.part(1);
        let id = object(&claims).expect("claims")["jti"].as_str().expect("an identifier").to_owned();
        let kid = self.own.public_key().id().expect("an identifier").to_owned();
        let mut spliced = Vec::new();
        let mut rest = text;
        while let [first, tail @ ..] = rest {
            let value = match (first, tail.first()) {
                (b'$', Some(b'h')) => Some(self.part(0)),
                (b'$', Some(b'p')) => Some(claims.clone()),
                (b'$', Some(b'j')) => Some(id.clone().into_bytes()),
                (b'$', Some(b't')) => Some(self.token.clone().into_bytes()),
                (b'$', Some(b'k')) => Some(kid.clone().into_bytes()),
                _ => None,
            };
            if let Some(value) = value {
                spliced.extend(value);
                rest = &tail[1..];
            } else {
                spliced.push(*first);
                rest = tail;
            }
        }
        spliced
    }
}

/// Parses a JSON object without repeated members at any depth.
pub(crate) fn object(json: &[u8]) -> Option<Map<String, Value>> {
    let _: Distinct = serde_json::from_slice(json).ok()?;
    match serde_json::from_slice(json).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// Any JSON without repeated members. It keeps no values.
struct Distinct;

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Distinct;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_str<E>(self, _: &str) -> Result<Distinct, E> {
                Ok(Distinct)
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> Result<Distinct, A::Error> {
                while access.next_element::<Distinct>()?.is_some() {}
                Ok(Distinct)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Distinct, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, Distinct)) = access.next_entry::<String, Distinct>()? {
                    if !names.insert(name) {
                        return Err(serde::de::Error::custom("twice"));
                    }
                }
                Ok(Distinct)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Returns whether a text is JSON.
pub(crate) fn is_json(json: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(json).is_ok()
}
