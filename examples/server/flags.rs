//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, ValueEnum};
use grantor::Policy;
use grantor::policy::RefreshTokens;
use time::Duration;
use url::Url;

use crate::peer::TrustedProxy;

/// A small but complete OAuth 2.0 provider, to try out and to copy from.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(name = "server", max_term_width = 100)]
pub(crate) struct Flags {
    /// The address to listen on. Port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,

    /// The most connections at once. One address may have half of them, and a trusted proxy all.
    #[arg(long, value_name = "NUMBER", default_value = "512")]
    pub(crate) max_connections: NonZeroU16,

    /// The issuer identifier: the address by which browsers reach the server, a URL without a path. Outside of this
    /// device, it must be https. Redirect URIs on this device should have the host 127.0.0.1, because browsers send the
    /// cookies of localhost to all of its ports. [default: `http://localhost` with the port]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// The address of a proxy in front of the server, or a network of proxies (repeatable). The address of a client is
    /// then the right-most one in X-Forwarded-For or Forwarded that belongs to no such proxy. Without proxies, it is
    /// that of the connection.
    #[arg(long, value_name = "CIDR")]
    pub(crate) trusted_proxy: Vec<TrustedProxy>,

    /// A custom scheme that native applications may use in redirect URIs although it has no dot, such as `cursor` for
    /// `cursor://callback`, or although two slashes follow it (repeatable). Any app on a device can claim a scheme, so
    /// add only those of apps that you know.
    #[arg(long, value_name = "NAME")]
    pub(crate) native_scheme: Vec<String>,

    /// The former issuer identifier. A storage belongs to one issuer; this flag moves it to the current one, for
    /// example when your domain changes. Signed access tokens of the former issuer stop working.
    #[arg(long, value_name = "URL")]
    pub(crate) moved_from: Option<String>,

    /// The storage for everything except sessions: `memory`, `sqlite:FILE` or `postgres://USER@HOST/DATABASE`. Several
    /// nodes with the same issuer can share a PostgreSQL database. Set its password in PGPASSWORD instead of in the
    /// URL. [default: sqlite:grantor.db, or memory without the feature sqlite]
    #[arg(long, value_name = "WHERE")]
    pub(crate) storage: Option<String>,

    /// Clients to add or to update, instead of the built-in ones: a JSON array with the member names of RFC 7591,
    /// `resource_server` for an API that introspects tokens, and `first_party` for an app of your own. A client with a
    /// key instead of a secret has the `token_endpoint_auth_method` `private_key_jwt` and its public keys in `jwks`
    /// (feature `jwt`), or at a `jwks_uri` (feature `http-client`, too). Other clients stay as they are.
    #[arg(long, value_name = "FILE")]
    pub(crate) clients: Option<PathBuf>,

    /// Users to add, or whose passwords to change, instead of the built-in one: a JSON object of user names and
    /// passwords. Other users stay as they are. A changed password ends the access of all applications of its user.
    /// Sessions at other running nodes stay until these nodes restart.
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,

    /// Give the built-in user and clients new secrets, and print them. Without this flag, they keep those of the first
    /// start.
    #[arg(long)]
    pub(crate) new_secrets: bool,

    /// Scopes instead of the built-in ones: a JSON object of scope tokens and descriptions. The scope `application`
    /// always exists. With it, an application changes its own registration.
    #[arg(long, value_name = "FILE")]
    pub(crate) scopes: Option<PathBuf>,

    /// A further API that access tokens can be for, and its scopes, such as `https://mail.example=mail:read mail:send`
    /// (repeatable). A request names it with `resource` (RFC 8707). Without `resource`, tokens are for the API of this
    /// server. The client whose `client_id` is the host of the URL, such as `mail.example`, may introspect its tokens, if
    /// it is a `resource_server`. The other resource servers may introspect the tokens for the API of this server.
    #[arg(long, value_name = "URL=SCOPES")]
    pub(crate) resource: Vec<FurtherApi>,

    /// The lifetime of an authorization code.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) code_lifetime: Option<u32>,

    /// The lifetime of an access token.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) access_token_lifetime: Option<u32>,

    /// How long the tokens of a grant can be refreshed.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) refresh_token_lifetime: Option<u32>,

    /// How long a client can repeat a refresh request and get the same new tokens again [default: 30, or the shortest
    /// token lifetime].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) refresh_grace: Option<u32>,

    /// Issue refresh tokens only with the scope `offline_access`.
    #[arg(long)]
    pub(crate) refresh_needs_offline_access: bool,

    /// Let clients introspect their own refresh tokens, too.
    #[arg(long)]
    pub(crate) introspect_refresh_tokens: bool,

    /// A file with 32 random bytes, from which the server derives keys. The first start creates it. Nodes that share a
    /// database need the same file. Only its owner may be able to write it. [default: grantor.secret, or none if
    /// everything is in memory]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// The format of access tokens: random strings, or signed JWTs (RFC 9068). Signed ones need the feature `jwt`.
    #[arg(long, value_name = "FORMAT", default_value = "opaque")]
    pub(crate) access_token_format: AccessTokenFormat,

    /// The algorithm of signatures, such as `RS256`, `ES256` or `EdDSA`. Needs the feature `jwt` [default: RS256].
    #[arg(long, value_name = "NAME")]
    pub(crate) signing_algorithm: Option<String>,

    /// Remove the signing key with this `kid`, and exit without serving. Use it if a key may have leaked: tokens that
    /// it has signed fail at once, and another key replaces it. Running servers follow within five minutes; restart
    /// them to be sure. Needs the feature `jwt`, and the same `--storage` as the server.
    #[arg(long, value_name = "KID", allow_hyphen_values = true)]
    pub(crate) remove_key: Option<String>,

    /// Switch off a part of the server that was built in (repeatable).
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<Capability>,

    /// Print each refused request to the standard error, with the reason, and each failed fetch. Clients do not learn
    /// most reasons, for example why an assertion is not accepted.
    #[arg(long)]
    pub(crate) log_refusals: bool,

    /// Turn on insecure legacy features for the server and all its clients: the implicit and password grants, plain and
    /// missing PKCE, token parameters in the query, and the out-of-band redirect.
    #[arg(long)]
    pub(crate) legacy: bool,
}

/// An API that another program serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FurtherApi {
    pub(crate) identifier: String,
    pub(crate) host: String,
    /// Separated by spaces.
    pub(crate) scope: String,
}

impl FromStr for FurtherApi {
    type Err = &'static str;

    /// Splits at the last `=`, because a URL can contain one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.rsplit_once('=').filter(|(_, scope)| !scope.trim().is_empty());
        let url = parts.and_then(|(url, _)| Url::parse(url).ok());
        match (parts, url.as_ref().and_then(Url::host_str)) {
            (Some((identifier, scope)), Some(host)) => {
                Ok(Self { identifier: identifier.to_owned(), host: host.to_owned(), scope: scope.to_owned() })
            }
            _ => Err("it must be a URL, then `=`, then scopes separated by spaces"),
        }
    }
}

/// The format of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessTokenFormat {
    Opaque,
    Jwt,
}

/// An optional part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Capability {
    /// Signing keys, published at /jwks (feature `jwt`).
    SigningKeys,
    /// Clients that authenticate by signatures, without a secret, and signed authorization requests (feature `jwt`).
    ClientSignatures,
}

impl Flags {
    pub(crate) fn is_without(&self, capability: Capability) -> bool {
        self.without.contains(&capability)
    }

    /// Rejects flags that would have no effect, because their part of the server was not built in or is switched off.
    pub(crate) fn check(&self) -> Result<(), String> {
        let signs = cfg!(feature = "jwt") && !self.is_without(Capability::SigningKeys);
        let flag = match (self.access_token_format, &self.signing_algorithm, &self.remove_key) {
            (AccessTokenFormat::Jwt, ..) => "--access-token-format jwt",
            (AccessTokenFormat::Opaque, Some(_), _) => "--signing-algorithm",
            (AccessTokenFormat::Opaque, None, Some(_)) => "--remove-key",
            (AccessTokenFormat::Opaque, None, None) => return Ok(()),
        };
        if signs {
            Ok(())
        } else if cfg!(feature = "jwt") {
            Err(format!("{flag} needs the signing keys, which --without signing-keys switches off"))
        } else {
            Err(format!("{flag} needs the feature jwt: build this server with --features axum,jwt"))
        }
    }

    /// Returns the policy of these flags. `build()` checks it.
    pub(crate) fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        if let Some(lifetime) = self.code_lifetime {
            policy.code_lifetime = seconds(lifetime);
        }
        if let Some(lifetime) = self.access_token_lifetime {
            policy.access_token_lifetime = seconds(lifetime);
        }
        if let Some(lifetime) = self.refresh_token_lifetime {
            policy.refresh_token_absolute_lifetime = seconds(lifetime);
            policy.refresh_token_idle_lifetime = seconds(lifetime);
        }
        let shortest = policy.access_token_lifetime.min(policy.refresh_token_idle_lifetime);
        policy.refresh_grace = self.refresh_grace.map_or(policy.refresh_grace.min(shortest), seconds);
        if self.refresh_needs_offline_access {
            policy.refresh_tokens = RefreshTokens::OfflineAccess;
        }
        policy.undotted_schemes.extend(self.native_scheme.iter().cloned());
        policy.introspect_refresh_tokens = self.introspect_refresh_tokens;
        if self.legacy {
            let dangerous = policy.dangerous();
            dangerous.allow_implicit_grant = true;
            dangerous.allow_password_grant = true;
            dangerous.allow_plain_pkce = true;
            dangerous.pkce_optional = true;
            dangerous.allow_token_parameters_in_query = true;
            dangerous.allow_out_of_band_redirect = true;
        }
        policy
    }
}

fn seconds(seconds: u32) -> Duration {
    Duration::seconds(seconds.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(flags: &[&str]) -> Policy {
        Flags::try_parse_from([&["server"], flags].concat()).unwrap().policy()
    }

    #[test]
    fn grace_window_follows_short_lifetimes_unless_given() {
        assert_eq!(policy(&[]).refresh_grace, Duration::seconds(30));
        assert_eq!(policy(&["--access-token-lifetime", "2"]).refresh_grace, Duration::seconds(2));
        assert_eq!(policy(&["--refresh-token-lifetime", "5"]).refresh_grace, Duration::seconds(5));
        let given = policy(&["--access-token-lifetime", "2", "--refresh-grace", "9"]);
        assert_eq!(given.refresh_grace, Duration::seconds(9));
    }

    #[test]
    fn further_api_is_a_url_and_scopes() {
        let read = |text: &str| text.parse().map(|FurtherApi { identifier, host, scope }| [identifier, host, scope]);
        let of = |url: &str, scope: &str| Ok([url, "mail.example", scope].map(str::to_owned));
        assert_eq!(read("https://mail.example=mail:read mail:send"), of("https://mail.example", "mail:read mail:send"));
        assert_eq!(read("https://mail.example/?a=b=mail:read"), of("https://mail.example/?a=b", "mail:read"));
        for wrong in [
            "https://mail.example",
            "https://mail.example=",
            "https://mail.example= ",
            "=mail:read",
            "mail=mail:read",
            "",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    // Guards: one of 64 thumbprints, which begins with a hyphen.
    #[test]
    fn key_id_may_begin_with_a_hyphen() {
        let flags = Flags::try_parse_from(["server", "--remove-key", "-dYQev9fdVEKd"]).unwrap();
        assert_eq!(flags.remove_key.as_deref(), Some("-dYQev9fdVEKd"));
    }

    #[test]
    fn nothing_dangerous_is_on_without_the_legacy_flag() {
        let switches = |policy: &Policy| format!("{:?}", policy.allowed_dangers());
        assert!(!switches(&policy(&[])).contains("true"), "{}", switches(&policy(&[])));
        assert!(!switches(&policy(&["--legacy"])).contains("false"), "{}", switches(&policy(&["--legacy"])));
    }
}
