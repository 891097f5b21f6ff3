//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use grantor::Policy;
use grantor::policy::RefreshTokens;
use time::Duration;

use crate::peer::TrustedProxy;

/// A complete OAuth 2.0 provider to try, and to copy from.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[command(name = "server", max_term_width = 100)]
pub(crate) struct Flags {
    /// Where to listen; port 0 takes any free port.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:3000")]
    pub(crate) listen: SocketAddr,

    /// How many connections are served at once. Half of them may come from one address, unless it is that of a trusted
    /// proxy.
    #[arg(long, value_name = "NUMBER", default_value = "512")]
    pub(crate) max_connections: NonZeroU16,

    /// The issuer identifier, if the server is reached by another address than the one it listens on: a URL without a
    /// path. An http issuer is accepted for loopback addresses only. [default: `http://localhost` and the port; redirect URIs on
    /// this device should have the address 127.0.0.1, because cookies of a host go to all of its ports]
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,

    /// A proxy, or a network of proxies, in front of the server (repeatable). The address of a client is then the right-most one in
    /// X-Forwarded-For or Forwarded that is not such a proxy's. Without it that is the address of the connection.
    #[arg(long, value_name = "CIDR")]
    pub(crate) trusted_proxy: Vec<TrustedProxy>,

    /// A scheme without a dot to which native applications may redirect, such as `cursor` for `cursor://callback`, or one with a dot to
    /// which they redirect with two slashes (repeatable). Any app on a device can claim such a name, so give those of apps that you know.
    #[arg(long, value_name = "NAME")]
    pub(crate) native_scheme: Vec<String>,

    /// The issuer identifier under which the storage was used so far. A storage belongs to one issuer; this moves it to the present
    /// one, as when a domain changes. Signed access tokens of before end, because they name the former one.
    #[arg(long, value_name = "URL")]
    pub(crate) moved_from: Option<String>,

    /// Where everything but sessions is kept: `memory`, `sqlite:FILE` or `postgres://USER@HOST/DATABASE`, which several nodes
    /// with the same issuer may share [default: sqlite:grantor.db, or memory where SQLite was not built in]. A password is better given in
    /// the environment, as PGPASSWORD, than in the URL.
    #[arg(long, value_name = "WHERE")]
    pub(crate) storage: Option<String>,

    /// Clients to add or to update, instead of the built-in ones: a JSON array with the member names of RFC 7591, and
    /// `resource_server` for an API that may introspect tokens, and `first_party` for an app of the service itself. Those that
    /// are not in the file stay as they are.
    #[arg(long, value_name = "FILE")]
    pub(crate) clients: Option<PathBuf>,

    /// Users to add, or to give other passwords, instead of the built-in one: a JSON object that maps user names to passwords.
    /// Those that are not in the file stay as they are.
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,

    /// Give the built-in user and clients new secrets, and print them. Without it they keep those of the first start.
    #[arg(long)]
    pub(crate) new_secrets: bool,

    /// The scopes instead of the built-in ones: a JSON object that maps scope tokens to descriptions. The scope `application`, with
    /// which an application changes its own registration, is there in any case.
    #[arg(long, value_name = "FILE")]
    pub(crate) scopes: Option<PathBuf>,

    /// How long a code can be redeemed.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) code_lifetime: Option<u32>,

    /// How long an access token works.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) access_token_lifetime: Option<u32>,

    /// How long a grant can be refreshed.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) refresh_token_lifetime: Option<u32>,

    /// How long a spent refresh token gets the same successors again [default: 30, or the shortest token lifetime].
    #[arg(long, value_name = "SECONDS")]
    pub(crate) refresh_grace: Option<u32>,

    /// Issue refresh tokens only where the scope `offline_access` was granted.
    #[arg(long)]
    pub(crate) refresh_needs_offline_access: bool,

    /// Tell clients by introspection about their own refresh tokens, too.
    #[arg(long)]
    pub(crate) introspect_refresh_tokens: bool,

    /// A file with 32 random bytes, from which the keys of the server are derived. It is made at the first start; nodes that share a
    /// database need the same. Nobody but its owner may be able to write it. [default: grantor.secret, or none if everything is in
    /// memory]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// Issue access tokens that mean nothing to others, or signed ones (RFC 9068). Signed ones need the feature `jwt`.
    #[arg(long, value_name = "FORMAT", default_value = "opaque")]
    pub(crate) access_token_format: AccessTokenFormat,

    /// What the server signs with, such as `RS256`, `ES256` or `EdDSA`. Needs the feature `jwt` [default: RS256].
    #[arg(long, value_name = "NAME")]
    pub(crate) signing_algorithm: Option<String>,

    /// Take out a key that the server signs with, by its `kid`, and end without serving. Use it when a key may have leaked: what it has
    /// signed fails at once, and another key takes its place. Servers that run follow within five minutes; restart them to be sure. Needs
    /// the feature `jwt`, and `--storage` as the server has it.
    #[arg(long, value_name = "KID")]
    pub(crate) remove_key: Option<String>,

    /// Switch off what is on because its feature was built in (repeatable).
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<Capability>,

    /// Turn on everything that OAuth 2.1 advises against, for the server and for all its clients: the implicit and
    /// password grants, plain and missing PKCE, token parameters in the query, the out-of-band redirect.
    #[arg(long)]
    pub(crate) legacy: bool,
}

/// How access tokens are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AccessTokenFormat {
    Opaque,
    Jwt,
}

/// An optional part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Capability {
    /// Keys to sign with, published at /jwks (feature `jwt`).
    SigningKeys,
}

impl Flags {
    pub(crate) fn is_without(&self, capability: Capability) -> bool {
        self.without.contains(&capability)
    }

    /// Refuses flags for what was not built in or was switched off: without an effect they would look as if they had one.
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

    /// The policy that these flags ask for; whether it makes sense is for `build()` to say.
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
    fn nothing_dangerous_is_on_without_the_legacy_flag() {
        let switches = |policy: &Policy| format!("{:?}", policy.allowed_dangers());
        assert!(!switches(&policy(&[])).contains("true"), "{}", switches(&policy(&[])));
        assert!(!switches(&policy(&["--legacy"])).contains("false"), "{}", switches(&policy(&["--legacy"])));
    }
}
