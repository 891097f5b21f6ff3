//! Comparisons: that none takes a time from which a secret could be guessed.

use std::hash::Hash;

use grantor::authorize::OutOfBandPage;
use grantor::client::{ClientBuilder, ClientParts, Confidential};
use grantor::grants::{
    Decision, ExchangeToken, GrantContext, OpenGrant, Owned, Presented, RepeatRefresh, Replayed, ResponseMembers,
};
use grantor::record::{CodeBinding, Spent, TokenDetails};
use grantor::secret::{SecretDigest, Seed, kind};
use grantor::storage::Spend;
use grantor::{
    AccessToken, AuthorizationCode, AuthorizationRequest, AuthorizationResponse, Client, ClientAttempt,
    ClientCredential, ClientSecret, CodeChallenge, CodeVerifier, ConsentForm, IntrospectionRequest, Params, Password,
    PendingAuthorization, RefreshToken, Request, ResourceOwnerAttempt, Response, RevocationRequest, StoredToken,
    TokenRequest, TokenResponse,
};
use static_assertions::assert_not_impl_any;

macro_rules! incomparable {
    ($($name:ty),*) => { $(assert_not_impl_any!($name: PartialEq, PartialOrd, Hash);)* };
}

// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn secrets_have_no_equality_operator_so_that_only_constant_time_comparison_is_left() {
    incomparable!(AccessToken, RefreshToken, AuthorizationCode, ClientSecret, Password, CodeVerifier);
    incomparable!(SecretDigest, Seed, CodeChallenge);
    // Nor has anything that one of them is a part of.
    incomparable!(ClientCredential, Client, ClientParts, ClientBuilder<Confidential>);
    incomparable!(StoredToken, Spent, TokenDetails, CodeBinding, Spend);
    incomparable!(Request, Response, Params<'static>, AuthorizationRequest<'static>, ConsentForm);
    incomparable!(TokenRequest<'static>, RevocationRequest<'static>, IntrospectionRequest<'static>);
    incomparable!(TokenResponse, AuthorizationResponse, PendingAuthorization);
    incomparable!(ClientAttempt<'static>, ResourceOwnerAttempt<'static>, OutOfBandPage<'static>);
    incomparable!(GrantContext<'static>, Presented<kind::RefreshToken>, Owned<kind::AuthorizationCode>);
    incomparable!(Decision, OpenGrant, ExchangeToken, RepeatRefresh, Replayed, ResponseMembers);
    // What takes the operator's place compares all of it, not a beginning or an end.
    let secret = "0123456789abcdef";
    let digest = SecretDigest::of(&ClientSecret::new(secret));
    assert!(digest.matches(&ClientSecret::new(secret)));
    for wrong in ["", "0", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "1123456789abcdef"] {
        assert!(!digest.matches(&ClientSecret::new(wrong)), "{wrong}");
    }
    let mut other = *digest.as_bytes();
    for at in 0..other.len() {
        other[at] ^= 1;
        assert!(!SecretDigest::from_bytes(other).matches(&ClientSecret::new(secret)), "byte {at}");
        other[at] ^= 1;
    }
}

/// The types refuse `==`; what is left is to take a secret out and compare its bytes.
// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn nothing_that_was_taken_out_of_a_secret_is_compared_by_an_operator() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut comparisons = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let takes_out =
                    ["expose()", "as_bytes()", ".finish()", "self.value"].iter().any(|exit| line.contains(exit));
                let compares = line.contains(" == ") || line.contains(" != ");
                assert!(!(takes_out && compares), "{}: {line}", path.display());
            }
            comparisons += [".ct_eq(", ".verify_slice(", " are_equal("]
                .map(|call| code.matches(call).count())
                .iter()
                .sum::<usize>();
        }
    }
    // Client secrets, two methods of PKCE, what these use with its two steps, form tokens, and the test users' passwords.
    assert_eq!(comparisons, 8);
}
