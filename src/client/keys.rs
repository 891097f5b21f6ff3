//! The keys of a client that signs: client assertions (RFC 7523) and request objects (RFC 9101).

use super::{AuthenticationMethod, Client, ClientBuilder, ClientError, ClientParts, ClientType};
use crate::http_client::check_registered_url;
use crate::jose::{Algorithm, JwkSet};

impl Client {
    /// Returns a builder for a confidential client that authenticates by JWTs which it signs (`private_key_jwt`, RFC
    /// 7523 §2.2), so that it shares no secret with the server. It needs [keys](ClientBuilder::jwks), and the server
    /// needs [`ClientSignatures`](crate::ClientSignatures).
    ///
    /// ```
    /// use grantor::Client;
    /// use grantor::jose::{Algorithm, JwkSet, SigningKey};
    ///
    /// let key = SigningKey::generate(Algorithm::Es256)?; // the client keeps it
    /// let keys = JwkSet::new([key.public_key().clone()])?; // the client sends it to you
    /// let client = Client::private_key_jwt("reports").jwks(keys).client_credentials().scope("report:read").build()?;
    /// assert!(client.is_confidential() && client.credentials().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn private_key_jwt(id: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(id.as_ref(), ClientType::Confidential)
            .token_endpoint_auth_method(AuthenticationMethod::PrivateKeyJwt)
    }

    /// Returns the registered public keys (`jwks`, RFC 7591 §2).
    #[must_use]
    pub const fn jwks(&self) -> Option<&JwkSet> {
        self.parts.jwks.as_ref()
    }

    /// Returns the URL of the public keys (`jwks_uri`, RFC 7591 §2), from which the server fetches them when it needs
    /// them.
    #[must_use]
    pub fn jwks_uri(&self) -> Option<&str> {
        self.parts.jwks_uri.as_deref()
    }

    /// Returns the only algorithm that the client may use to authenticate (`token_endpoint_auth_signing_alg`, OpenID
    /// Connect Registration §2). `None` means every algorithm that the server accepts. The two names of Ed25519 count as
    /// one algorithm.
    #[must_use]
    pub const fn token_endpoint_auth_signing_alg(&self) -> Option<Algorithm> {
        self.parts.token_endpoint_auth_signing_alg
    }

    /// Returns the only algorithm that the client may use for request objects (`request_object_signing_alg`, OpenID
    /// Connect Registration §2). `None` means every algorithm that the server accepts. The two names of Ed25519 count as
    /// one algorithm.
    #[must_use]
    pub const fn request_object_signing_alg(&self) -> Option<Algorithm> {
        self.parts.request_object_signing_alg
    }

    /// Returns whether every authorization request of the client must be a signed request object
    /// (`require_signed_request_object`, RFC 9101 §10.5).
    #[must_use]
    pub const fn requires_signed_request_object(&self) -> bool {
        self.parts.require_signed_request_object
    }
}

impl ClientBuilder {
    /// Sets the public keys, see [`Client::jwks`].
    pub fn jwks(self, keys: JwkSet) -> Self {
        self.with(|parts| parts.jwks = Some(keys))
    }

    /// Sets the URL of the public keys, see [`Client::jwks_uri`]. The client can then replace its keys without a change
    /// of its registration. The server needs an [HTTP client](crate::Builder::http_client).
    pub fn jwks_uri(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.with(|parts| parts.jwks_uri = Some(url))
    }

    /// Restricts the client to one algorithm when it authenticates, see [`Client::token_endpoint_auth_signing_alg`].
    pub fn token_endpoint_auth_signing_alg(self, algorithm: Algorithm) -> Self {
        self.with(|parts| parts.token_endpoint_auth_signing_alg = Some(algorithm))
    }

    /// Restricts the client to one algorithm for request objects, see [`Client::request_object_signing_alg`].
    pub fn request_object_signing_alg(self, algorithm: Algorithm) -> Self {
        self.with(|parts| parts.request_object_signing_alg = Some(algorithm))
    }

    /// Demands that every authorization request of the client is a signed request object, see
    /// [`Client::requires_signed_request_object`].
    pub fn require_signed_request_object(self) -> Self {
        self.with(|parts| parts.require_signed_request_object = true)
    }
}

impl ClientParts {
    /// Checks that a client that signs has the keys for it.
    pub(super) fn check_keys(&self) -> Result<(), ClientError> {
        if let Some(url) = &self.jwks_uri {
            check_registered_url(url).map_err(ClientError::JwksUri)?;
            return if self.jwks.is_some() { Err(ClientError::TwoKeySources) } else { Ok(()) };
        }
        let authenticates = self.token_endpoint_auth_method == Some(AuthenticationMethod::PrivateKeyJwt);
        let Some(keys) = &self.jwks else {
            let needs_keys = authenticates || self.require_signed_request_object;
            return if needs_keys { Err(ClientError::NoKeys) } else { Ok(()) };
        };
        let lacks = |algorithm: &Algorithm| !keys.keys().iter().any(|key| key.is_for(*algorithm));
        let own = self.token_endpoint_auth_signing_alg.filter(|_| authenticates);
        match own.into_iter().chain(self.request_object_signing_alg).find(lacks) {
            Some(algorithm) => Err(ClientError::NoKeyForAlgorithm(algorithm)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UrlError;
    use crate::jose::PublicKey;

    fn keys() -> JwkSet {
        let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        JwkSet::new([PublicKey::from_jwk(key).unwrap()]).unwrap()
    }

    fn by_key() -> ClientBuilder {
        Client::private_key_jwt("app").client_credentials()
    }

    // covers: CA-25 (RFC 7591 §2)
    #[test]
    fn client_that_signs_allows_no_other_method() {
        let client = by_key().jwks(keys()).build().unwrap();
        for method in AuthenticationMethod::ALL {
            let is_own = method == AuthenticationMethod::PrivateKeyJwt;
            assert_eq!(client.allows_authentication_method(method), is_own, "{method:?}");
        }
        let other = Client::confidential("app", crate::ClientCredential::opaque()).jwks(keys()).client_credentials();
        assert!(!other.build().unwrap().allows_authentication_method(AuthenticationMethod::PrivateKeyJwt));
    }

    #[test]
    fn client_that_signs_has_suitable_keys() {
        assert_eq!(by_key().build().unwrap_err(), ClientError::NoKeys);
        let with_url = |url: &str| by_key().jwks_uri(url).build();
        for url in
            ["https://app.example/jwks", "https://app.example:8443/", "http://localhost:8080/jwks", "https://[::1]/"]
        {
            assert_eq!(with_url(url).unwrap().jwks_uri(), Some(url));
        }
        for (url, problem) in [
            ("http://app.example/jwks", UrlError::Scheme),
            ("https://app.example/jwks#a", UrlError::Fragment),
            ("https://a:b@app.example/jwks", UrlError::UserInfo),
            ("https://10.0.0.1/jwks", UrlError::Address),
            ("https://intranet/jwks", UrlError::Name),
            ("http://127.1/jwks", UrlError::Malformed),
            ("/jwks", UrlError::Malformed),
            (&format!("https://app.example/{}", "a".repeat(2_048)), UrlError::TooLong),
        ] {
            assert_eq!(with_url(url).unwrap_err(), ClientError::JwksUri(problem), "{url:.60}");
        }
        let two = by_key().jwks(keys()).jwks_uri("https://app.example/jwks").build();
        assert_eq!(two.unwrap_err(), ClientError::TwoKeySources);
        let app = || Client::public("app").authorization_code(["https://app.example/cb"]);
        assert_eq!(app().require_signed_request_object().build().unwrap_err(), ClientError::NoKeys);
        assert!(app().require_signed_request_object().jwks(keys()).build().is_ok());
        let problem = ClientError::NoKeyForAlgorithm(Algorithm::Es256);
        let with_keys = || by_key().jwks(keys());
        assert_eq!(with_keys().token_endpoint_auth_signing_alg(Algorithm::Es256).build().unwrap_err(), problem);
        assert_eq!(with_keys().request_object_signing_alg(Algorithm::Es256).build().unwrap_err(), problem);
        assert!(with_keys().token_endpoint_auth_signing_alg(Algorithm::Ed25519).build().is_ok());
        let public = Client::public("app").token_endpoint_auth_method(AuthenticationMethod::PrivateKeyJwt);
        let public = public.authorization_code(["https://app.example/cb"]).jwks(keys());
        assert_eq!(public.build().unwrap_err(), ClientError::PublicWithCredentials);
    }
}
