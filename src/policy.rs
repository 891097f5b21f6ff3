//! [`Policy`]: the switches and lifetimes of a server. The defaults follow RFC 9700 and OAuth 2.1.

use std::collections::BTreeSet;

use time::Duration;

use crate::client::redirect_uri::{forbidden_scheme, scheme};
use crate::client::{Client, RedirectUriClass};
use crate::http_client::FetchPolicy;
use crate::scope::Scope;

/// The switches and lifetimes of a server for which the specifications leave a choice.
///
/// ```
/// use grantor::Policy;
/// use time::Duration;
///
/// let mut policy = Policy::default();
/// policy.access_token_lifetime = Duration::minutes(10);
/// policy.dangerous().allow_password_grant = true;
/// ```
///
/// # Defaults
/// | setting | default |
/// |---|---|
/// | [`code_lifetime`](Self::code_lifetime) | 1 minute |
/// | [`tolerate_repeated_codes`](Self::tolerate_repeated_codes) | no |
/// | [`access_token_lifetime`](Self::access_token_lifetime) | 1 hour |
/// | [`refresh_token_idle_lifetime`](Self::refresh_token_idle_lifetime) | 14 days |
/// | [`refresh_token_absolute_lifetime`](Self::refresh_token_absolute_lifetime) | 90 days |
/// | [`refresh_grace`](Self::refresh_grace) | 30 seconds |
/// | [`refresh_burst`](Self::refresh_burst) | 1,000 |
/// | [`refresh_interval`](Self::refresh_interval) | 30 seconds |
/// | [`refresh_tokens`](Self::refresh_tokens) | always, to clients that may refresh |
/// | [`refresh_token_rotation`](Self::refresh_token_rotation) | always |
/// | [`consent_lifetime`](Self::consent_lifetime) | 30 minutes |
/// | [`error_redirects`](Self::error_redirects) | at once for clients that an administrator registered |
/// | [`require_signed_request_object`](Self::require_signed_request_object) | no |
/// | [`https_redirect_proves_identity`](Self::https_redirect_proves_identity) | no |
/// | [`localhost_redirects`](Self::localhost_redirects) | yes, for native apps and clients in development |
/// | [`undotted_schemes`](Self::undotted_schemes) | none |
/// | [`self_service_scope`](Self::self_service_scope) | the client's list, or the server's default scope |
/// | [`bearer_in_body`](Self::bearer_in_body) | no |
/// | [`check_subject_at_use`](Self::check_subject_at_use) | no |
/// | [`introspect_refresh_tokens`](Self::introspect_refresh_tokens) | no |
/// | [`max_state`](Self::max_state) | 4,096 bytes |
/// | [`max_body`](Self::max_body) | 65,536 bytes |
/// | [`body_deadline`](Self::body_deadline) | 10 seconds |
/// | [`fetch`](Self::fetch) | see [`FetchPolicy`] |
/// | everything in [`dangerous`](Self::dangerous) | off |
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate switch")]
pub struct Policy {
    /// The lifetime of a code, at most ten minutes (RFC 6749 §4.1.2). Default: 1 minute.
    pub code_lifetime: Duration,
    /// Whether the grant survives if its client redeems the code again because it lost the first response. Some HTTP
    /// libraries do that automatically. The second redemption is always refused (RFC 6749 §4.1.2). With this switch, it
    /// does not revoke the grant if all of these are true: it comes within ten seconds of the first, the client has
    /// authenticated with a secret or a key, it has sent all required proofs and asks for the same resource, and no
    /// token from the code was redeemed. The repeat of a public client always revokes the grant, because such a client
    /// proves only PKCE. So does the repeat of a client that got a refresh token with the code and whose refresh tokens
    /// are not rotated. Default: no.
    pub tolerate_repeated_codes: bool,
    /// The lifetime of an access token. RFC 6750 §5.3 recommends one hour or less. It is limited by
    /// [`refresh_token_absolute_lifetime`](Self::refresh_token_absolute_lifetime). Default: 1 hour.
    pub access_token_lifetime: Duration,
    /// The lifetime of an unused refresh token (RFC 9700 §4.14.2). Default: 14 days.
    pub refresh_token_idle_lifetime: Duration,
    /// The time after which a grant can't be refreshed any more, even if it is used regularly. Default: 90 days.
    pub refresh_token_absolute_lifetime: Duration,
    /// The grace window: the time in which a redeemed refresh token returns the same successors again instead of ending
    /// its grant, so that a lost response or a second tab does not log the user out. At most 60 seconds; zero for none.
    /// If a [`TokenCustomizer`](crate::customizer::TokenCustomizer) lets the access token expire within this time, a
    /// later repeat is refused, and the grant survives. Default: 30 seconds.
    pub refresh_grace: Duration,
    /// The number of refreshes of a grant that are allowed in addition to those of
    /// [`refresh_interval`](Self::refresh_interval). Default: 1,000.
    pub refresh_burst: u32,
    /// The minimum average time between refreshes of a grant since it was opened, in addition to
    /// [`refresh_burst`](Self::refresh_burst). It limits the number of rows of redeemed refresh tokens, which are kept
    /// as long as the grant. If the lifetime of an access token is shorter, that is the minimum. A refresh above the
    /// limit gets 429 with `Retry-After` and changes nothing. Zero means no limit. Default: 30 seconds.
    ///
    /// Of the repeats of one refresh within [`refresh_grace`](Self::refresh_grace), each except the first counts like a
    /// refresh. A late reuse is never delayed. A refresh token that is not rotated leaves no rows and is not counted.
    ///
    /// The lifetime of an access token is the present one of the policy or the client. If a
    /// [`TokenCustomizer`](crate::customizer::TokenCustomizer) makes or made it shorter than this interval, set the
    /// interval to that lifetime. Otherwise clients that refresh whenever a token expires have to wait.
    pub refresh_interval: Duration,
    /// When refresh tokens are issued. Default: always, to clients that may refresh.
    pub refresh_tokens: RefreshTokens,
    /// The clients whose refresh tokens are rotated at each use (RFC 9700 §4.14.2). Default: all.
    pub refresh_token_rotation: Rotation,
    /// The time in which a consent form can be submitted, and in which a request keeps its progress while the user logs
    /// in. Default: 30 minutes.
    pub consent_lifetime: Duration,
    /// Whether an error is redirected at once, before the user has done anything (RFC 9700 §4.11.2). Default: only for
    /// clients that an administrator registered.
    pub error_redirects: ErrorRedirects,
    /// Whether every authorization request must be a signed request object (RFC 9101 §10.5). The server must accept
    /// them: with the feature `jwt`, by `ClientSignatures::request_objects`. A client whose requests can't be signed
    /// can then start no request. A single client can demand it, too, by the member `require_signed_request_object`.
    /// Default: no.
    pub require_signed_request_object: bool,
    /// Whether an `https` redirect URI with a host name proves the identity of a public client, so that an earlier
    /// consent applies to it (RFC 8252 §8.6). Default: no.
    pub https_redirect_proves_identity: bool,
    /// Whether `http://localhost` with any port is allowed for native apps (RFC 8252 §8.3), and for clients with the
    /// switch [`localhost_for_development`](crate::client::ClientParts::localhost_for_development). Default: yes.
    pub localhost_redirects: bool,
    /// The private-use schemes without a dot that are allowed in redirect URIs of native apps with the switch
    /// [`undotted_schemes`](crate::client::ClientParts::undotted_schemes), such as `cursor` and `vscode`. Also list a
    /// scheme with a dot if two slashes follow it in a redirect URI, as in `com.example.app://callback`. Any app can
    /// claim a name that is not in reverse domain notation (RFC 8252 §7.1), so list only schemes that you know. Names
    /// such as `javascript`, `file` and `http` are an error when the server is built. Default: none.
    pub undotted_schemes: BTreeSet<String>,
    /// The scopes that users can consent to for a client that no administrator registered, regardless of the list of
    /// the client. It is evaluated at each request. Scopes that the server declares later are not included. All of the
    /// scopes must be declared.
    ///
    /// `None`, the default: such a client may have the scopes of its list, or the default scope of the server with
    /// [`AllOffered`](crate::client::AllowedScope::AllOffered). Set this policy if clients choose their scopes
    /// themselves.
    pub self_service_scope: Option<Scope>,
    /// Whether a bearer token may be in a form body (RFC 6750 §2.2). A body larger than [`max_body`](Self::max_body) is
    /// not read. At an endpoint of a [`Capability`](crate::Capability), the [limit of that
    /// endpoint](crate::capability::Endpoint::max_body) applies instead. Default: no.
    pub bearer_in_body: bool,
    /// Whether the bearer check and introspection check the [status](crate::Authenticator::subject_status) of the
    /// subject. The access tokens of a suspended user then stop working at once, and not only when they expire. It
    /// costs one call of the authenticator for each request to the API. Default: no, the status is checked when tokens
    /// are issued.
    pub check_subject_at_use: bool,
    /// Whether a client can introspect its own refresh tokens. If not, the response for every refresh token is
    /// inactive, so that a thief can't find out whether a stolen token was already redeemed. Default: no.
    pub introspect_refresh_tokens: bool,
    /// The maximum length of `state` in bytes. Default: 4,096.
    pub max_state: usize,
    /// The maximum size of a request body or query in bytes. Default: 65,536. That is enough for the maximum of 16 KiB
    /// of authorization parameters, percent-encoded in a query or sealed in a consent form. If it is less than 32 KiB,
    /// half of it is the maximum of authorization parameters. Below 4 KiB, a consent form may be too large. It is also
    /// the maximum size of a signed request object (RFC 9101).
    pub max_body: usize,
    /// The time for which the adapters for axum and actix-web wait for the body of a request after its headers. After
    /// that, the request gets 408. The time for the headers is a setting of the HTTP server: see [the
    /// manual](crate::manual::operators#time-and-concurrency). Default: 10 seconds.
    pub body_deadline: Duration,
    /// The limits of fetches from URLs that clients register. Default: see [`FetchPolicy`].
    pub fetch: FetchPolicy,
    dangerous: Dangerous,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            code_lifetime: Duration::minutes(1),
            tolerate_repeated_codes: false,
            access_token_lifetime: Duration::hours(1),
            refresh_token_idle_lifetime: Duration::days(14),
            refresh_token_absolute_lifetime: Duration::days(90),
            refresh_grace: Duration::seconds(30),
            refresh_burst: 1_000,
            refresh_interval: Duration::seconds(30),
            refresh_tokens: RefreshTokens::Always,
            refresh_token_rotation: Rotation::Always,
            consent_lifetime: Duration::minutes(30),
            error_redirects: ErrorRedirects::Registered,
            require_signed_request_object: false,
            https_redirect_proves_identity: false,
            localhost_redirects: true,
            undotted_schemes: BTreeSet::new(),
            self_service_scope: None,
            bearer_in_body: false,
            check_subject_at_use: false,
            introspect_refresh_tokens: false,
            max_state: 4_096,
            max_body: 65_536,
            body_deadline: Duration::seconds(10),
            fetch: FetchPolicy::default(),
            dangerous: Dangerous::default(),
        }
    }
}

/// When a client gets a refresh token. The client must also be registered for the refresh token grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RefreshTokens {
    /// With every grant that can be refreshed.
    #[default]
    Always,
    /// Only if the scope `offline_access` was granted. The server must offer that scope.
    OfflineAccess,
    /// Never.
    Never,
}

/// The clients whose refresh tokens are rotated at each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rotation {
    /// All clients.
    #[default]
    Always,
    /// Only public clients, for which RFC 9700 §4.14.2 requires it. A confidential client keeps its refresh token until
    /// the grant reaches its absolute lifetime or is idle for too long.
    PublicClients,
}

/// Whether the authorization endpoint redirects an error before the user has done anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErrorRedirects {
    /// At once for clients that an administrator registered. For other clients, a page asks the user first.
    #[default]
    Registered,
    /// A page always asks the user first.
    AskFirst,
}

/// Switches that weaken a server, for compatibility with clients that can't be changed. All are off by default. The
/// registration of the client must allow each of them, too.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate switch")]
pub struct Dangerous {
    /// The implicit grant, `response_type=token` (RFC 6749 §4.2). It puts access tokens into URLs, so RFC 9700 §2.1.2
    /// advises against it.
    pub allow_implicit_grant: bool,
    /// The resource owner password credentials grant (RFC 6749 §4.3). It shows passwords to apps, so RFC 9700 §2.4
    /// forbids it.
    pub allow_password_grant: bool,
    /// The PKCE method `plain` (RFC 7636 §4.2). A party that sees the authorization request can then redeem the code.
    pub allow_plain_pkce: bool,
    /// Codes without PKCE for confidential clients (RFC 9700 §2.1.1). An attacker can then inject a stolen code into a
    /// session of the client. Public clients always need PKCE, because otherwise the code alone could be redeemed.
    pub pkce_optional: bool,
    /// Credentials and parameters of the token request in the query of the URL (forbidden by RFC 6749 §2.3.1). Secrets
    /// then get into logs.
    pub allow_token_parameters_in_query: bool,
    /// The redirect URI `urn:ietf:wg:oauth:2.0:oob`. Users then copy codes by hand and can be tricked into giving them
    /// away.
    pub allow_out_of_band_redirect: bool,
}

impl Policy {
    /// Returns the switches that weaken a server, to set them.
    pub const fn dangerous(&mut self) -> &mut Dangerous {
        &mut self.dangerous
    }

    /// Returns the switches that weaken a server, to read them.
    #[must_use]
    pub const fn allowed_dangers(&self) -> &Dangerous {
        &self.dangerous
    }

    /// Returns the effective lifetimes for a client. Those of the client take precedence over those of the policy.
    #[must_use]
    pub fn lifetimes(&self, client: &Client) -> EffectiveLifetimes {
        let own = client.lifetimes();
        let refresh_token_absolute = own.refresh_token_absolute.unwrap_or(self.refresh_token_absolute_lifetime);
        let access_token = own.access_token.unwrap_or(self.access_token_lifetime).min(refresh_token_absolute);
        let refresh_token_idle =
            own.refresh_token_idle.unwrap_or(self.refresh_token_idle_lifetime).min(refresh_token_absolute);
        EffectiveLifetimes {
            code: own.code.unwrap_or(self.code_lifetime),
            access_token,
            refresh_token_idle,
            refresh_token_absolute,
            // A window that is longer than the lifetime of the tokens would return expired tokens.
            refresh_grace: own.refresh_grace.unwrap_or(self.refresh_grace).min(access_token).min(refresh_token_idle),
        }
    }

    /// Returns whether a grant of this age may have this number of refreshes.
    pub(crate) fn allows_refreshes(&self, refreshes: u64, age: Duration, lifetimes: &EffectiveLifetimes) -> bool {
        let interval = self.refresh_interval.min(lifetimes.access_token);
        if !interval.is_positive() {
            return true;
        }
        let earned = age.whole_nanoseconds().max(0) / interval.whole_nanoseconds();
        i128::from(refreshes) <= i128::from(self.refresh_burst).saturating_add(earned)
    }

    /// Returns whether the policy allows a registered redirect URI.
    pub(crate) fn allows_redirect(&self, class: RedirectUriClass, uri: &str) -> bool {
        match class {
            RedirectUriClass::OutOfBand => self.dangerous.allow_out_of_band_redirect,
            RedirectUriClass::Localhost => self.localhost_redirects,
            RedirectUriClass::UndottedScheme => self.undotted_schemes.contains(scheme(uri)),
            _ => true,
        }
    }

    /// Returns whether the refresh tokens of a client are rotated.
    pub(crate) fn rotates(&self, client: &Client) -> bool {
        match self.refresh_token_rotation {
            Rotation::Always => true,
            Rotation::PublicClients => !client.is_confidential(),
        }
    }

    /// Returns the first problem as an error.
    pub(crate) fn check(&self) -> Result<(), PolicyError> {
        let lifetimes = [
            self.code_lifetime,
            self.access_token_lifetime,
            self.refresh_token_idle_lifetime,
            self.refresh_token_absolute_lifetime,
            self.consent_lifetime,
        ];
        if lifetimes.into_iter().any(|lifetime| lifetime < Duration::SECOND) {
            return Err(PolicyError::LifetimeTooShort);
        }
        if self.code_lifetime > Duration::minutes(10) {
            return Err(PolicyError::CodeLifetimeTooLong);
        }
        if self.refresh_token_idle_lifetime > self.refresh_token_absolute_lifetime {
            return Err(PolicyError::IdleExceedsAbsolute);
        }
        if self.refresh_grace.is_negative() || self.refresh_grace > Duration::MINUTE {
            return Err(PolicyError::GraceOutOfRange);
        }
        if self.access_token_lifetime.min(self.refresh_token_idle_lifetime) < self.refresh_grace {
            return Err(PolicyError::GraceExceedsLifetime);
        }
        if self.refresh_interval.is_negative() || self.refresh_burst == 0 {
            return Err(PolicyError::NoRefreshes);
        }
        if self.max_body == 0 || self.max_state == 0 || !self.body_deadline.is_positive() {
            return Err(PolicyError::NoInput);
        }
        if self.fetch.forbids_all() {
            return Err(PolicyError::NoFetches);
        }
        if let Some(name) = self.undotted_schemes.iter().find_map(|name| forbidden_scheme(name)) {
            return Err(PolicyError::ForbiddenScheme(name));
        }
        let is_scheme = |name: &String| {
            let is_scheme_byte =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
            name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(is_scheme_byte)
        };
        if !self.undotted_schemes.iter().all(is_scheme) {
            return Err(PolicyError::MalformedScheme);
        }
        Ok(())
    }
}

/// The effective lifetimes for one client, see [`Policy::lifetimes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveLifetimes {
    /// The lifetime of a code.
    pub code: Duration,
    /// The lifetime of an access token.
    pub access_token: Duration,
    /// The lifetime of an unused refresh token, at most the absolute lifetime.
    pub refresh_token_idle: Duration,
    /// The lifetime of all refresh tokens of a grant together.
    pub refresh_token_absolute: Duration,
    /// The grace window, at most as long as the lifetime of the tokens that it repeats.
    pub refresh_grace: Duration,
}

/// The reason why a policy contradicts itself or a specification. Its text says what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A lifetime is below one second.
    #[error("a lifetime of the policy is below one second: set it to one second or more")]
    LifetimeTooShort,
    /// The lifetime of a code is above ten minutes (RFC 6749 §4.1.2).
    #[error("code_lifetime must be at most ten minutes (RFC 6749 section 4.1.2)")]
    CodeLifetimeTooLong,
    /// The idle lifetime of a refresh token is longer than its absolute lifetime.
    #[error("refresh_token_idle_lifetime must be at most refresh_token_absolute_lifetime")]
    IdleExceedsAbsolute,
    /// The grace window is negative, or too long to be safe.
    #[error("refresh_grace must be 0 to 60 seconds")]
    GraceOutOfRange,
    /// The grace window is longer than the lifetime of the tokens that it repeats.
    #[error("refresh_grace must be at most access_token_lifetime and refresh_token_idle_lifetime")]
    GraceExceedsLifetime,
    /// The refresh limit allows no refresh, or is negative.
    #[error("refresh_burst must be at least 1, and refresh_interval must not be negative")]
    NoRefreshes,
    /// A limit is so low that no request could be read.
    #[error("max_body and max_state must be at least 1, and body_deadline must be above zero")]
    NoInput,
    /// A limit of fetches is so low that nothing could be fetched.
    #[error("fetch allows no fetch: give each of its limits at least 1, a timeout above zero, and at least one port")]
    NoFetches,
    /// A scheme that runs scripts, reads files or belongs to the browser or the operating system.
    #[error("undotted_schemes has {0:?}, which is never allowed in a redirect URI: remove it")]
    ForbiddenScheme(&'static str),
    /// A name is not a valid scheme.
    #[error(
        "undotted_schemes must have names of lower-case letters, digits, +, - and dots, such as vscode, without a colon"
    )]
    MalformedScheme,
}
