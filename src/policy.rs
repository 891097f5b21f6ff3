//! Every switch and lifetime of a server. The defaults follow RFC 9700 and OAuth 2.1.

use std::collections::BTreeSet;

use time::Duration;

use crate::client::redirect_uri::{forbidden_scheme, scheme};
use crate::client::{Client, RedirectUriClass};
use crate::scope::Scope;

/// The switches and lifetimes of a server, where the specifications leave a choice.
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
/// | everything in [`dangerous`](Self::dangerous) | off |
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Policy {
    /// How long a code can be redeemed; at most ten minutes (RFC 6749 §4.1.2). Default: 1 minute.
    pub code_lifetime: Duration,
    /// Whether the grant lives on if its client redeems a code a second time because it lost the first answer, as some HTTP libraries do by
    /// themselves. The second redemption is refused in any case (RFC 6749 §4.1.2). It ends the grant, unless it comes within ten seconds of
    /// the first, the client has authenticated by a secret, everything that the code is bound to is right, and no token that came of the
    /// code was spent. A public client proves nothing but PKCE, so its repeats always end the grant, as do those of clients whose refresh
    /// tokens are not replaced. Default: no.
    pub tolerate_repeated_codes: bool,
    /// How long an access token works (RFC 6750 §5.3 advises an hour or less), but never longer than its grant may last at all:
    /// [`refresh_token_absolute_lifetime`](Self::refresh_token_absolute_lifetime). Default: 1 hour.
    pub access_token_lifetime: Duration,
    /// How long a refresh token works that is not used (RFC 9700 §4.14.2). Default: 14 days.
    pub refresh_token_idle_lifetime: Duration,
    /// How long a grant can be refreshed at all, however often it is used. Default: 90 days.
    pub refresh_token_absolute_lifetime: Duration,
    /// How long a spent refresh token gets the same successors again instead of ending its grant, so that a lost answer
    /// or a second tab logs no user out; at most 60 seconds, zero for never. An access token that a
    /// [`TokenCustomizer`](crate::customizer::TokenCustomizer) lets expire within this time can't be given again: a repeat after that is
    /// refused, and the grant goes on. Default: 30 seconds.
    pub refresh_grace: Duration,
    /// How many refreshes of a grant are allowed besides those that [`refresh_interval`](Self::refresh_interval) allows. Default: 1,000.
    pub refresh_burst: u32,
    /// How often a grant may be refreshed on average since it was opened, so that the rows of its spent refresh tokens, which are
    /// evidence and stay as long as the grant, are bounded: at most once in this time, or once in an access token lifetime if that is
    /// shorter, and [`refresh_burst`](Self::refresh_burst) times more. What is above gets 429 with `Retry-After` and changes nothing. Of
    /// the repeats of one refresh within [`refresh_grace`](Self::refresh_grace), each but the first counts like a refresh; a late reuse is
    /// never put off. A refresh token that is
    /// not replaced when it is used leaves no such rows and is not counted. Zero means no limit. Default: 30 seconds.
    ///
    /// The access token lifetime is that of the policy or the client, as it is now. If a
    /// [`TokenCustomizer`](crate::customizer::TokenCustomizer) lets access tokens live shorter than this, or did so before, set an
    /// interval as short: else clients that refresh each time are told to wait with an expired token.
    pub refresh_interval: Duration,
    /// When refresh tokens are issued. Default: always, to clients that may refresh.
    pub refresh_tokens: RefreshTokens,
    /// Which clients' refresh tokens are replaced at each use (RFC 9700 §4.14.2). Default: all.
    pub refresh_token_rotation: Rotation,
    /// How long a consent form can be submitted, and how long a request counts as the same one after the user was sent to log
    /// in. Default: 30 minutes.
    pub consent_lifetime: Duration,
    /// Whether an error is redirected at once, before the user was involved (RFC 9700 §4.11.2). Default: for clients
    /// that an administrator registered.
    pub error_redirects: ErrorRedirects,
    /// Whether an `https` redirect URI with a name as its host is taken as proof of a public client's identity, so that consent to it
    /// can be on record (RFC 8252 §8.6). Default: no.
    pub https_redirect_proves_identity: bool,
    /// Whether native apps may use `http://localhost` with any port, besides the loopback addresses (RFC 8252 §8.3), and other
    /// clients with the switch [`localhost_for_development`](crate::client::ClientParts::localhost_for_development). Default: yes.
    pub localhost_redirects: bool,
    /// The private-use schemes without a dot that native apps may redirect to if they have the switch
    /// [`undotted_schemes`](crate::client::ClientParts::undotted_schemes), such as `cursor` and `vscode`. A scheme with a dot is
    /// listed if two slashes follow it in redirect URIs, as in `com.example.app://callback`. Only names in reverse domain notation tell their
    /// owner (RFC 8252 §7.1), so list those that you know. Names such as `javascript`, `file` and `http` do not build. Default: none.
    pub undotted_schemes: BTreeSet<String>,
    /// The scopes that users can consent to for a client which no administrator registered, whatever its own list says. It is judged at
    /// each request, so a scope that the server declares later is not in it. All of them must be declared.
    ///
    /// `None`, the default: such a client may have the scopes of its own list, which the host's code has accepted, and with
    /// [`AllOffered`](crate::client::AllowedScope::AllOffered) the server's default scope. Set it if clients name their scopes themselves.
    pub self_service_scope: Option<Scope>,
    /// Whether a bearer token may stand in a form body (RFC 6750 §2.2); one that is larger than
    /// [`max_body`](Self::max_body) is not looked at. At an endpoint of a [`Capability`](crate::Capability), the
    /// [limit of that endpoint](crate::capability::Endpoint::max_body) counts instead. Default: no.
    pub bearer_in_body: bool,
    /// Whether the bearer check and introspection ask for the [status](crate::Authenticator::subject_status) of the subject, too,
    /// so that the access tokens of a suspended user stop at once instead of when they expire. It costs one call of the
    /// authenticator for each request to the API. Default: no, tokens are checked when they are issued.
    pub check_subject_at_use: bool,
    /// Whether introspection tells a client about its own refresh tokens. If not, every refresh token is inactive, so that a party
    /// with an old one can't find out without risk whether it was spent. Default: no.
    pub introspect_refresh_tokens: bool,
    /// The longest `state` that is accepted, in bytes. Default: 4,096.
    pub max_state: usize,
    /// The largest request body or query that is read, in bytes. Default: 65,536, which leaves room for authorization
    /// parameters of 16 KiB, the most that is accepted of them: percent-encoded in a query, and sealed in a consent form. With
    /// less than 32 KiB, half of it is the most that is accepted of them; below 4 KiB a consent form may not fit.
    pub max_body: usize,
    /// How long the adapters for axum and actix-web wait for the body of a request, from the moment that its headers are known. A
    /// request whose body is later gets 408. It does not limit how long the headers may take: that is a setting of the HTTP server,
    /// see [the manual](crate::manual::operators#time-and-concurrency). Default: 10 seconds.
    pub body_deadline: Duration,
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
            dangerous: Dangerous::default(),
        }
    }
}

/// When a client gets a refresh token. It never gets one without being registered for the refresh token grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum RefreshTokens {
    /// With every grant that can be refreshed.
    #[default]
    Always,
    /// Only if `offline_access` was granted. The scope must be one that the server offers.
    OfflineAccess,
    /// Never.
    Never,
}

/// Which clients' refresh tokens are replaced each time they are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Rotation {
    /// All.
    #[default]
    Always,
    /// Those of public clients, as RFC 9700 §4.14.2 demands; a confidential client keeps its token until the token's
    /// grant reaches its absolute lifetime or is idle for too long.
    PublicClients,
}

/// Whether the authorization endpoint redirects an error before the user was involved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ErrorRedirects {
    /// At once for clients that an administrator registered; others get a page that asks the user first.
    #[default]
    Registered,
    /// Always a page that asks the user first.
    AskFirst,
}

/// Switches that weaken a server, for compatibility with clients that can't be changed. All are off by default, and each
/// works only for clients that are registered for it too.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Dangerous {
    /// The implicit grant, `response_type=token` (RFC 6749 §4.2): access tokens in URLs. RFC 9700 §2.1.2 advises against
    /// it.
    pub allow_implicit_grant: bool,
    /// The resource owner password credentials grant (RFC 6749 §4.3): apps see passwords. RFC 9700 §2.4 forbids it.
    pub allow_password_grant: bool,
    /// The PKCE method `plain` (RFC 7636 §4.2): a party that sees the authorization request can redeem the code.
    pub allow_plain_pkce: bool,
    /// Codes without PKCE for confidential clients (RFC 9700 §2.1.1): a stolen code can be injected into the client's own
    /// session. Public clients always need PKCE, because without it a code is its own proof.
    pub pkce_optional: bool,
    /// Credentials and parameters of the token request in the URL's query (against RFC 6749 §2.3.1): secrets end up in
    /// logs.
    pub allow_token_parameters_in_query: bool,
    /// The redirect URI `urn:ietf:wg:oauth:2.0:oob`: users copy codes by hand and can be talked into giving them away.
    pub allow_out_of_band_redirect: bool,
}

impl Policy {
    /// The switches that weaken a server, to be set.
    pub const fn dangerous(&mut self) -> &mut Dangerous {
        &mut self.dangerous
    }

    /// The switches that weaken a server, as they are.
    #[must_use]
    pub const fn allowed_dangers(&self) -> &Dangerous {
        &self.dangerous
    }

    /// The lifetimes that hold for a client: its own where it has them.
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
            // A window that outlives the tokens it repeats would only hand out expired ones.
            refresh_grace: own.refresh_grace.unwrap_or(self.refresh_grace).min(access_token).min(refresh_token_idle),
        }
    }

    /// Whether a grant of this age may have been refreshed so often.
    pub(crate) fn allows_refreshes(&self, refreshes: u64, age: Duration, lifetimes: &EffectiveLifetimes) -> bool {
        let interval = self.refresh_interval.min(lifetimes.access_token);
        if !interval.is_positive() {
            return true;
        }
        let earned = age.whole_nanoseconds().max(0) / interval.whole_nanoseconds();
        i128::from(refreshes) <= i128::from(self.refresh_burst).saturating_add(earned)
    }

    /// Whether a redirect URI that is registered can also be used.
    pub(crate) fn allows_redirect(&self, class: RedirectUriClass, uri: &str) -> bool {
        match class {
            RedirectUriClass::OutOfBand => self.dangerous.allow_out_of_band_redirect,
            RedirectUriClass::Localhost => self.localhost_redirects,
            RedirectUriClass::UndottedScheme => self.undotted_schemes.contains(scheme(uri)),
            _ => true,
        }
    }

    /// Whether a client's refresh tokens are replaced at each use.
    pub(crate) fn rotates(&self, client: &Client) -> bool {
        match self.refresh_token_rotation {
            Rotation::Always => true,
            Rotation::PublicClients => !client.is_confidential(),
        }
    }

    /// The first contradiction, if there is one.
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

/// The lifetimes that hold for one client, see [`Policy::lifetimes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EffectiveLifetimes {
    /// Of a code.
    pub code: Duration,
    /// Of an access token.
    pub access_token: Duration,
    /// Of an unused refresh token; at most the absolute one.
    pub refresh_token_idle: Duration,
    /// Of all refresh tokens of a grant together.
    pub refresh_token_absolute: Duration,
    /// The grace window; at most as long as the tokens live that it would repeat.
    pub refresh_grace: Duration,
}

/// Settings that contradict each other or a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A lifetime is below one second.
    #[error("every lifetime is at least one second")]
    LifetimeTooShort,
    /// RFC 6749 §4.1.2.
    #[error("a code lives for ten minutes at most (RFC 6749 section 4.1.2)")]
    CodeLifetimeTooLong,
    /// A token that is not used would outlive its grant.
    #[error("refresh_token_idle_lifetime exceeds refresh_token_absolute_lifetime")]
    IdleExceedsAbsolute,
    /// The window is too long to be safe.
    #[error("refresh_grace is 0 to 60 seconds")]
    GraceOutOfRange,
    /// A repeated refresh would hand out expired tokens.
    #[error("the access token or idle refresh token lifetime is shorter than refresh_grace")]
    GraceExceedsLifetime,
    /// A client that refreshes as soon as it can would be told to wait.
    #[error("refresh_burst is at least 1, and refresh_interval is not negative")]
    NoRefreshes,
    /// Nothing could ever be read.
    #[error("max_body and max_state are at least 1, and body_deadline is above zero")]
    NoInput,
    /// A scheme that runs scripts, reads files or belongs to the browser or the operating system.
    #[error("undotted_schemes has {0:?}, which is never a redirect target")]
    ForbiddenScheme(&'static str),
    /// A name that is no scheme.
    #[error("undotted_schemes has names of lower-case letters, digits, +, - and dots, such as vscode, without a colon")]
    MalformedScheme,
}
