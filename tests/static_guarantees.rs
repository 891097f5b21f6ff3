//! Traits that public types must or must not have, and results that a caller must use. The compiler checks each list.

use std::borrow::Borrow;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::ops::Deref;
use std::sync::Arc;

use grantor::authorize::{OutOfBandPage, PageTemplates};
use grantor::client::{ClientBuilder, ClientParts};
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant, PresentedToken, ResponseMembers};
use grantor::record::{CodeBinding, Spent, TokenDetails};
use grantor::secret::{SecretDigest, Seed, kind};
use grantor::storage::{AnyStorage, GrantSelector, KeyStore, Redemption};
use grantor::{
    Access, AccessToken, Approval, AuthenticatedClient, Authenticator, AuthorizationCode, AuthorizationRequest,
    AuthorizationResponse, AuthorizationServer, Bearer, Capability, Client, ClientAttempt, ClientCredential, ClientId,
    ClientRegistry, ClientSecret, ClientStore, Clock, CodeChallenge, CodeVerifier, ConsentForm, Entropy,
    EphemeralStore, Error, Grant, IntrospectionRequest, MemoryStorage, Observer, Params, Password,
    PendingAuthorization, RefreshToken, Request, ResourceOwnerAttempt, Response, RevocationRequest, Scope, Storage,
    StoredToken, Subject, TokenCustomizer, TokenRequest, TokenResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use static_assertions::{assert_impl_all, assert_not_impl_any, assert_type_ne_all};

#[path = "static_guarantees/must_use.rs"]
mod must_use;

macro_rules! incomparable {
    ($($name:ty),*) => { $(assert_not_impl_any!($name: PartialEq, PartialOrd, Hash);)* };
}

// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn secrets_have_no_equality_operator() {
    incomparable!(AccessToken, RefreshToken, AuthorizationCode, ClientSecret, Password, CodeVerifier);
    incomparable!(SecretDigest, Seed, CodeChallenge);
    // Types that contain a secret have no `==` either.
    incomparable!(ClientCredential, Client, ClientParts, ClientBuilder);
    incomparable!(StoredToken, Spent, TokenDetails, CodeBinding, Redemption);
    incomparable!(Request, Response, Params<'static>, AuthorizationRequest<'static>, ConsentForm);
    incomparable!(TokenRequest<'static>, RevocationRequest<'static>, IntrospectionRequest<'static>);
    incomparable!(TokenResponse, AuthorizationResponse, PendingAuthorization);
    incomparable!(ClientAttempt<'static>, ResourceOwnerAttempt<'static>, OutOfBandPage<'static>);
    incomparable!(GrantContext<'static>, PresentedToken<kind::RefreshToken>);
    incomparable!(Decision, OpenGrant, ResponseMembers);
    // The method that replaces the operator compares the whole secret.
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

macro_rules! unprintable {
    ($($name:ty),*) => { $(assert_not_impl_any!($name: Display, Serialize, DeserializeOwned);)* };
}

/// `expose()` returns the text of a secret, and nothing else does.
// covers: B34
#[test]
fn secrets_are_neither_printed_nor_serialised() {
    macro_rules! secrets {
        ($($name:ty),*) => { $(
            unprintable!($name);
            assert_not_impl_any!($name: Clone, Deref, AsRef<str>, AsRef<[u8]>, Borrow<str>, Into<String>);
        )* };
    }
    secrets!(AccessToken, RefreshToken, AuthorizationCode, ClientSecret, Password, CodeVerifier);
    unprintable!(PendingAuthorization, AuthorizationResponse, Response, Request, TokenResponse);
    // Storages serialise these.
    assert_not_impl_any!(Seed: Display);
    assert_not_impl_any!(SecretDigest: Display);
    let secret = ClientSecret::new("J8NFmU4tJVgDxKaJFmXTWvaHO01ZuPcB");
    assert!(!format!("{secret:?}").contains(secret.expose()), "{secret:?}");
}

// The kinds of secret are different types.
assert_type_ne_all!(AccessToken, RefreshToken, AuthorizationCode, ClientSecret, Password, CodeVerifier);
// Values of these types prove something, so they can't be copied or made from other values.
assert_not_impl_any!(PendingAuthorization: Clone);
assert_not_impl_any!(Approval: From<Subject>);
assert_not_impl_any!(PresentedToken<kind::RefreshToken>: Clone);
assert_not_impl_any!(AuthenticatedClient: From<Client>, From<Arc<Client>>);
assert_not_impl_any!(Access: From<Bearer>);
// These are texts that were checked.
assert_not_impl_any!(Scope: From<&'static str>, From<String>);
assert_not_impl_any!(Subject: From<&'static str>, From<String>);
// A client is not a resource owner.
assert_not_impl_any!(Subject: From<ClientId>);
// A storage names every field of these, so it loses none.
assert_not_impl_any!(Grant: Default);
assert_not_impl_any!(StoredToken: Default);
assert_not_impl_any!(Spent: Default);

// The token of a machine has no resource owner, and a selector by subject cannot mean the grants that have none.
const _: fn(&Access) -> Option<&Subject> = Access::subject;
const _: fn(Subject) -> GrantSelector = GrantSelector::Subject;

// A host may share these parts between servers.
assert_impl_all!(Arc<dyn Storage>: Storage);
assert_impl_all!(Arc<dyn ClientStore>: ClientStore);
assert_impl_all!(Arc<dyn ClientRegistry>: ClientRegistry, ClientStore);
assert_impl_all!(Arc<dyn EphemeralStore>: EphemeralStore);
assert_impl_all!(
    Arc<dyn AnyStorage>: AnyStorage, Storage, ClientRegistry, ClientStore, EphemeralStore, KeyStore, Clone, Debug
);
assert_impl_all!(Arc<dyn Authenticator>: Authenticator);
assert_impl_all!(Arc<dyn TokenCustomizer>: TokenCustomizer);
assert_impl_all!(Arc<dyn GrantHandler>: GrantHandler);
assert_impl_all!(Arc<dyn Capability>: Capability);
assert_impl_all!(Arc<dyn PageTemplates>: PageTemplates);
assert_impl_all!(Arc<dyn Observer>: Observer);
assert_impl_all!(Arc<dyn Clock>: Clock);
assert_impl_all!(Arc<dyn Entropy>: Entropy);
// A host shares these among the threads of its runtime.
assert_impl_all!(AuthorizationServer: Clone, Send, Sync);
assert_impl_all!(MemoryStorage: Send, Sync);
assert_impl_all!(PendingAuthorization: Send, Sync);
assert_impl_all!(Bearer: Send, Sync);
assert_impl_all!(Access: Send, Sync);
assert_impl_all!(Request: Send, Sync);
assert_impl_all!(Response: Send, Sync);
assert_impl_all!(GrantSelector: Send, Sync);
assert_impl_all!(Error: std::error::Error, Send, Sync);
