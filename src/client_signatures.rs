//! [`ClientSignatures`]: verifies what clients sign (client assertions, RFC 7523; request objects, RFC 9101).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use crate::build_error::BuildError;
use crate::client::Client;
use crate::error::{Error, FetchError};
use crate::event::FetchPurpose;
use crate::fetcher::{Fetch, Fetcher};
use crate::jose::{Accepted, Algorithm, AwsLc, Claims, JwtProblem, Typ, Verifier, verify};
use crate::published_keys::PublishedKeys;

/// The greatest difference of clocks that can be allowed.
const MAX_LEEWAY: Duration = Duration::minutes(1);

/// Accepts what clients sign with their registered keys, for
/// [`Builder::client_signatures`](crate::Builder::client_signatures). Clients can then authenticate with a key instead
/// of a shared secret (`private_key_jwt`, RFC 7523 §2.2), at every endpoint that authenticates clients. The metadata
/// lists the method and the algorithms.
///
/// An assertion is a JWT that the client signs for one request:
/// * `iss` and `sub` are the client identifier, and `aud` is the issuer identifier of the server alone, as a string or
///   as a list with this one value. The URL of an endpoint is refused.
/// * `exp` is at most ten minutes after `iat`, or after now if there is no `iat`.
/// * `jti` has 1 to 256 bytes and is not used again: an assertion works once.
/// * The type (`typ`) is `client-authentication+jwt`, `JWT` or missing. The text has at most 8 KiB.
///
/// Every refusal is `invalid_client` with the same description. The observer gets the precise reason:
/// `Refusal::ClientAssertion`.
///
/// ```
/// use grantor::{AuthorizationServer, ClientSignatures, MemoryStorage};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), grantor::BuildError> {
/// let oauth = AuthorizationServer::builder("https://id.example.com")
///     .storage(MemoryStorage::new())
///     .scope("report:read", "Read reports")
///     .client_signatures(ClientSignatures::new())
///     .build()
///     .await?;
/// # let _ = oauth;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "give it to the builder"]
pub struct ClientSignatures {
    algorithms: Vec<Algorithm>,
    verifier: Arc<dyn Verifier>,
    leeway: Duration,
    /// The keys that clients publish at a URL. A server sets it when it is built.
    published: Option<Arc<PublishedKeys>>,
    request_objects: bool,
}

/// The kind of text that a caller expects of a client.
pub(crate) struct Expected<'a> {
    pub(crate) client: &'a Client,
    /// The issuer identifier of this server, which is the only audience.
    pub(crate) issuer: &'a str,
    pub(crate) typ: Typ<'a>,
    /// The maximum size of a text, in bytes.
    pub(crate) max_size: usize,
    /// The only algorithm that is registered for the client and this purpose, if there is one.
    pub(crate) algorithm: Option<Algorithm>,
    /// The longest time from `iat` (or from now) to `exp`.
    pub(crate) longest: Duration,
    pub(crate) needs_expiry: bool,
    /// The peer of the request.
    pub(crate) peer: Option<IpAddr>,
}

impl ClientSignatures {
    /// Accepts every algorithm of [`AwsLc`], and clocks that differ by up to 30 seconds.
    pub fn new() -> Self {
        Self::verified_by(AwsLc)
    }

    /// Like [`new`](Self::new), with the algorithms and the cryptography of another verifier.
    pub fn verified_by(verifier: impl Verifier + 'static) -> Self {
        let algorithms = verifier.algorithms().to_vec();
        Self {
            algorithms,
            verifier: Arc::new(verifier),
            leeway: Duration::seconds(30),
            request_objects: false,
            published: None,
        }
    }

    /// Accepts only these algorithms. The metadata lists them in this order. Default: every algorithm of the verifier.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Sets by how much the clocks of a client and of this server may differ: from zero to one minute. Default: 30
    /// seconds.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Also accepts authorization requests as request objects by value (the parameter `request`, RFC 9101). A client
    /// that has keys can then sign its requests, so that they can't be changed in the browser. See also
    /// [`Policy::require_signed_request_object`](crate::Policy::require_signed_request_object). Default: no; such
    /// requests get the error `request_not_supported`.
    ///
    /// An object has the type (`typ`) `oauth-authz-req+jwt`, `JWT` or none. These claims are required: `iss` and
    /// `client_id`, the client identifier; and `aud`, the issuer identifier of this server alone. `exp`, if it is
    /// present, is at most one hour after `iat`, or after now if there is no `iat`. `sub` is not allowed. The other
    /// claims are the parameters of the request. They are strings; `max_age` can also be a number. All parameters
    /// outside of the object except `client_id` are ignored.
    ///
    /// An object is not used up, so a `jti` is not needed: it is part of a URL, and users reload pages.
    pub const fn request_objects(mut self) -> Self {
        self.request_objects = true;
        self
    }

    pub(crate) const fn accepts_request_objects(&self) -> bool {
        self.request_objects
    }

    /// Returns the algorithms that clients may use.
    pub(crate) fn accepted(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let problem = |text: String| Err(BuildError::capability("client_signatures", text));
        if self.algorithms.is_empty() {
            return problem("there is no algorithm: list at least one".to_owned());
        }
        let known = self.verifier.algorithms();
        if let Some(unknown) = self.algorithms.iter().find(|algorithm| !known.contains(algorithm)) {
            return problem(format!("the verifier does not support the algorithm {unknown}: remove it"));
        }
        if self.leeway.is_negative() || self.leeway > MAX_LEEWAY {
            return problem("leeway must be between zero and one minute".to_owned());
        }
        Ok(())
    }

    /// Fetches the keys that clients publish.
    pub(crate) fn fetching(mut self, fetcher: &Arc<Fetcher>) -> Self {
        self.published = Some(Arc::new(PublishedKeys::new(Arc::clone(fetcher))));
        self
    }

    /// Verifies a text with the keys of its presumed signer, and checks the claims that every purpose has in common.
    /// Returns the claims and the time until which the text is valid on this server, if it expires.
    ///
    /// The outer error is a failure of the server, or the keys of the client could not be fetched.
    pub(crate) async fn verify(
        &self,
        text: &str,
        expected: &Expected<'_>,
        now: OffsetDateTime,
    ) -> Result<Result<(Claims, Option<OffsetDateTime>), JwtProblem>, Error> {
        // A client that registered one name of Ed25519 may use the other.
        let registered = expected.algorithm;
        let algorithms = self.algorithms.iter().copied();
        let algorithms: Vec<_> =
            algorithms.filter(|own| registered.is_none_or(|registered| own.is_same_as(registered))).collect();
        let accepted = Accepted { max_size: expected.max_size, typ: expected.typ, algorithms: &algorithms };
        let verified = match (expected.client.jwks(), expected.client.jwks_uri()) {
            (Some(keys), _) => verify(text, accepted, keys.keys(), &*self.verifier),
            (None, Some(url)) => self.verify_with_published(text, accepted, expected, url).await?,
            (None, None) => Err(JwtProblem::NoKeys),
        };
        Ok(verified.and_then(|claims| {
            let end = self.check_claims(&claims, expected, now)?;
            Ok((claims, end))
        }))
    }

    /// Verifies a text with keys that the client publishes. If no key fits, the client may have new keys.
    async fn verify_with_published(
        &self,
        text: &str,
        accepted: Accepted<'_>,
        expected: &Expected<'_>,
        url: &str,
    ) -> Result<Result<Claims, JwtProblem>, Error> {
        // A text that no key could verify causes no fetch.
        match verify(text, accepted, &[], &*self.verifier) {
            Err(JwtProblem::UnknownKey) => {}
            other => return Ok(other),
        }
        let published = self.published.as_ref().ok_or_else(|| Arc::new(FetchError::NoClient))?;
        let (url, client_id) = (url.to_owned(), expected.client.id().clone());
        let fetch = Fetch { url, purpose: FetchPurpose::ClientKeys, client_id, peer: expected.peer };
        let keys = published.get(&fetch).await?;
        match verify(text, accepted, &keys, &*self.verifier) {
            Err(problem @ (JwtProblem::UnknownKey | JwtProblem::AmbiguousKey | JwtProblem::Signature)) => {
                let newer = published.get_newer(&fetch, &keys).await?;
                if Arc::ptr_eq(&keys, &newer) {
                    Ok(Err(problem))
                } else {
                    Ok(verify(text, accepted, &newer, &*self.verifier))
                }
            }
            verified => Ok(verified),
        }
    }

    /// Checks issuer, audience and times.
    fn check_claims(
        &self,
        claims: &Claims,
        expected: &Expected<'_>,
        now: OffsetDateTime,
    ) -> Result<Option<OffsetDateTime>, JwtProblem> {
        if claims.text("iss")?.ok_or(JwtProblem::MissingClaim("iss"))? != expected.client.id().as_str() {
            return Err(JwtProblem::Issuer);
        }
        match *claims.audiences()? {
            [] => return Err(JwtProblem::MissingClaim("aud")),
            [only] if only == expected.issuer => {}
            _ => return Err(JwtProblem::Audience),
        }
        let latest_start = now.saturating_add(self.leeway);
        let (issued, starts, ends) = (claims.time("iat")?, claims.time("nbf")?, claims.time("exp")?);
        if issued.is_some_and(|issued| issued > latest_start) || starts.is_some_and(|starts| starts > latest_start) {
            return Err(JwtProblem::NotYetValid);
        }
        let Some(ends) = ends else {
            return if expected.needs_expiry { Err(JwtProblem::MissingClaim("exp")) } else { Ok(None) };
        };
        let good_until = ends.saturating_add(self.leeway);
        if good_until <= now {
            return Err(JwtProblem::Expired);
        }
        if ends - issued.unwrap_or(now) > expected.longest {
            return Err(JwtProblem::LongLived);
        }
        Ok(Some(good_until))
    }
}

impl Default for ClientSignatures {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ClientSignatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSignatures")
            .field("algorithms", &self.algorithms)
            .field("leeway", &self.leeway)
            .field("request_objects", &self.request_objects)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;
    use crate::jose::{JwkSet, SigningKey, sign};

    const ISSUER: &str = "https://as.example";
    const NOW: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);

    fn ready<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("a key in memory never waits"),
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_pem(Algorithm::Es256, include_str!("../tests/keys/p256.pem")).unwrap()
    }

    fn client() -> Client {
        let keys = JwkSet::new([key().public_key().clone()]).unwrap();
        Client::private_key_jwt("app").jwks(keys).client_credentials().build().unwrap()
    }

    /// Verifies a text with these claims. The times are in seconds from now.
    fn check(signatures: &ClientSignatures, needs_expiry: bool, claims: &Value) -> Result<Option<i64>, JwtProblem> {
        let text = ready(sign(&key(), "client-authentication+jwt", claims.to_string().as_bytes())).unwrap();
        let expected = Expected {
            client: &client(),
            issuer: ISSUER,
            typ: Typ::IsOrGeneral("client-authentication+jwt"),
            max_size: 8192,
            algorithm: None,
            longest: Duration::minutes(10),
            needs_expiry,
            peer: None,
        };
        let verified = ready(signatures.verify(&text, &expected, NOW)).unwrap();
        verified.map(|(_, end)| end.map(|end| (end - NOW).whole_seconds()))
    }

    fn claims(change: Value) -> Value {
        let now = NOW.unix_timestamp();
        let mut claims = json!({ "iss": "app", "aud": ISSUER, "exp": 60 });
        let Value::Object(change) = change else { panic!("claims are an object") };
        claims.as_object_mut().unwrap().extend(change);
        for name in ["iat", "nbf", "exp"] {
            if let Some(offset) = claims.get(name).and_then(Value::as_i64) {
                claims[name] = (now + offset).into();
            }
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    // covers: JB-02 (RFC 7523 §3), JB-04 (RFC 7523 §3), JB-05 (RFC 7523bis §4), JB-18 (RFC 7521 §5.1)
    #[test]
    fn issuer_and_audience_are_compared_exactly() {
        let signatures = ClientSignatures::new();
        let check = |change| check(&signatures, true, &claims(change));
        assert_eq!(check(json!({})), Ok(Some(90)));
        assert_eq!(check(json!({ "aud": [ISSUER] })), Ok(Some(90)));
        for (change, problem) in [
            (json!({ "iss": null }), JwtProblem::MissingClaim("iss")),
            (json!({ "iss": 1 }), JwtProblem::MalformedClaim("iss")),
            (json!({ "iss": "App" }), JwtProblem::Issuer),
            (json!({ "iss": "app " }), JwtProblem::Issuer),
            (json!({ "aud": null }), JwtProblem::MissingClaim("aud")),
            (json!({ "aud": [] }), JwtProblem::MissingClaim("aud")),
            (json!({ "aud": [1] }), JwtProblem::MalformedClaim("aud")),
            (json!({ "aud": "https://as.example/" }), JwtProblem::Audience),
            (json!({ "aud": "https://AS.example" }), JwtProblem::Audience),
            (json!({ "aud": "https://as.example/token" }), JwtProblem::Audience),
            (json!({ "aud": [ISSUER, ISSUER] }), JwtProblem::Audience),
            (json!({ "aud": [ISSUER, "https://other.example"] }), JwtProblem::Audience),
        ] {
            assert_eq!(check(change.clone()), Err(problem), "{change}");
        }
    }

    // covers: JB-06 (RFC 7523 §3), JB-07 (RFC 7523 §3), KM-22 (RFC 7519 §2)
    #[test]
    fn times_are_bounded_in_both_directions() {
        let signatures = ClientSignatures::new().leeway(Duration::seconds(10));
        let check = |needs_expiry, change| check(&signatures, needs_expiry, &claims(change));
        for (change, end) in [
            (json!({ "exp": 1 }), 11),
            (json!({ "exp": -9 }), 1),
            (json!({ "exp": 600, "iat": 0, "nbf": 0 }), 610),
            (json!({ "exp": 600, "iat": 10, "nbf": 10 }), 610),
            (json!({ "exp": 610, "iat": 10 }), 620),
            (json!({ "exp": 300, "iat": -300 }), 310),
        ] {
            assert_eq!(check(true, change.clone()), Ok(Some(end)), "{change}");
        }
        for (change, problem) in [
            (json!({ "exp": -10 }), JwtProblem::Expired),
            (json!({ "exp": "60" }), JwtProblem::MalformedClaim("exp")),
            (json!({ "exp": 1e300 }), JwtProblem::MalformedClaim("exp")),
            (json!({ "exp": 601 }), JwtProblem::LongLived),
            (json!({ "exp": 300, "iat": -301 }), JwtProblem::LongLived),
            (json!({ "exp": 615, "iat": 20 }), JwtProblem::NotYetValid),
            (json!({ "exp": 611, "iat": 11 }), JwtProblem::NotYetValid),
            (json!({ "nbf": 11 }), JwtProblem::NotYetValid),
            (json!({ "nbf": [] }), JwtProblem::MalformedClaim("nbf")),
            (json!({ "iat": true }), JwtProblem::MalformedClaim("iat")),
            (json!({ "exp": null }), JwtProblem::MissingClaim("exp")),
        ] {
            assert_eq!(check(true, change.clone()), Err(problem), "{change}");
        }
        assert_eq!(check(false, json!({ "exp": null })), Ok(None));
        assert_eq!(check(false, json!({ "exp": -10 })), Err(JwtProblem::Expired));
    }

    #[test]
    fn client_without_keys_or_with_another_algorithm_is_refused() {
        let text = ready(sign(&key(), "JWT", claims(json!({})).to_string().as_bytes())).unwrap();
        let refused = |signatures: &ClientSignatures, client: &Client, algorithm| {
            let typ = Typ::IsOrGeneral("client-authentication+jwt");
            let longest = Duration::minutes(10);
            let expected = Expected {
                client,
                issuer: ISSUER,
                typ,
                max_size: 8192,
                algorithm,
                longest,
                needs_expiry: true,
                peer: None,
            };
            ready(signatures.verify(&text, &expected, NOW)).unwrap().map(|(_, end)| end).err()
        };
        let all = ClientSignatures::new();
        assert_eq!(refused(&all, &client(), None), None);
        assert_eq!(refused(&all, &client(), Some(Algorithm::Es256)), None);
        assert_eq!(refused(&all, &client(), Some(Algorithm::Ps256)), Some(JwtProblem::Algorithm));
        let other = ClientSignatures::new().algorithms([Algorithm::Rs256]);
        assert_eq!(refused(&other, &client(), None), Some(JwtProblem::Algorithm));
        assert_eq!(refused(&other, &client(), Some(Algorithm::Es256)), Some(JwtProblem::Algorithm));
        let public = Client::public("app").authorization_code(["https://app.example/cb"]).build().unwrap();
        assert_eq!(refused(&all, &public, None), Some(JwtProblem::NoKeys));
    }
}
