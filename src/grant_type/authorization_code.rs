//! The authorization code grant (RFC 6749 §4.1) with PKCE (RFC 7636).

use std::sync::Arc;

use async_trait::async_trait;
use subtle::ConstantTimeEq;
use time::Duration;

use super::{Decision, GrantContext, GrantHandler, Order, PresentedToken, RedeemToken, Replayed};
use crate::client::auth::ClientProof;
use crate::error::{Error, Refusal};
use crate::issue::seed_of_code;
use crate::pkce::{CodeChallenge, is_code_verifier};
use crate::record::{CodeBinding, GrantType, Spent};
use crate::secret::{AuthorizationCode, Seed, kind};

/// The handler that redeems codes (RFC 6749 §4.1.3).
pub(crate) struct AuthorizationCodeGrant;

#[async_trait]
impl GrantHandler for AuthorizationCodeGrant {
    fn grant_type(&self) -> &GrantType {
        const { &GrantType::built_in(GrantType::AUTHORIZATION_CODE) }
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["code", "redirect_uri", "code_verifier"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let code = AuthorizationCode::new(context.params.require("code")?);
        let proof = Proof {
            redirect_uri: context.params.get("redirect_uri")?,
            code_verifier: context.params.get("code_verifier")?,
        };
        let presented = context.find(code).await?;
        redeem(presented, &proof, context)
    }
}

/// The proofs that a client presents with a code.
struct Proof<'a> {
    redirect_uri: Option<&'a str>,
    code_verifier: Option<&'a str>,
}

/// The order of the checks matters. Only a caller that has proven every binding learns that a code was spent, and can
/// cause the revocation of its grant.
fn redeem(
    presented: PresentedToken<kind::AuthorizationCode>,
    proof: &Proof<'_>,
    context: &GrantContext<'_>,
) -> Result<Decision, Error> {
    let presented = presented.must_belong_to(context.client)?;
    let Some(binding) = presented.code_binding() else {
        // A newer node may have written a binding that this version can't read. Without its binding, a code can't be
        // redeemed.
        Error::check_enforced(presented.unenforced_member())?;
        return Err(Refusal::UnknownToken.into());
    };
    must_repeat_redirect_uri(binding, proof.redirect_uri, context.client.may_omit_redirect_uri())?;
    let pkce_optional = context.policy().allowed_dangers().pkce_optional && context.client.is_pkce_optional();
    must_meet_challenge(binding.code_challenge.as_ref(), proof.code_verifier, pkce_optional)?;
    let resource = context.server.resources.of_grant(presented.grant(), context.resource.as_ref())?;
    presented.must_have_a_live_grant(context.now)?;
    if let Some(spent) = presented.spent() {
        let seed = seed_of_code(presented.secret().expose(), resource.as_deref());
        return Ok(Decision(if is_retry(spent, &seed, context) {
            Order::CodeRepeated(Arc::clone(presented.grant()))
        } else {
            Order::Replayed(Replayed::new(&presented))
        }));
    }
    presented.must_not_be_expired(context.now)?;
    let scope = presented.token().scope.clone();
    Ok(Decision(Order::Redeem(Box::new(RedeemToken::new(presented, scope, resource)))))
}

/// How long after its redemption a client may present a code again without ending the grant.
const RETRY_WINDOW: Duration = Duration::seconds(10);

/// Returns whether a client presents a spent code again because it lost the response. The caller has proven all
/// bindings of the code. `seed` is that of a redemption for the requested resource.
fn is_retry(spent: &Spent, seed: &Seed, context: &GrantContext<'_>) -> bool {
    let is_proven = match context.client.proof() {
        ClientProof::Secret => true,
        #[cfg(feature = "jwt")]
        ClientProof::Assertion => true,
        // A public client proves only the verifier, which can leak together with the code.
        ClientProof::None => false,
    };
    // The storage erases the seed when a successor is spent.
    let is_unused = spent.seed.as_ref().is_some_and(|own| own.expose().ct_eq(seed.expose()).into());
    let age = (context.now - spent.at).abs();
    context.policy().tolerate_repeated_codes && is_proven && is_unused && age < RETRY_WINDOW
}

/// Checks the redirect URI. A client that sent `redirect_uri` to the authorization endpoint must repeat it (RFC 6749
/// §4.1.3). In OAuth 2.1 §10.2, PKCE replaces this check and clients may omit it.
fn must_repeat_redirect_uri(binding: &CodeBinding, given: Option<&str>, may_omit: bool) -> Result<(), Refusal> {
    let matches = match given {
        Some(given) => *given == *binding.redirect_uri,
        None => !binding.redirect_uri_was_sent || may_omit && binding.code_challenge.is_some(),
    };
    if matches { Ok(()) } else { Err(Refusal::RedirectUriMismatch) }
}

/// Checks the code verifier (RFC 7636 §4.6). To prevent downgrades, neither the challenge nor the verifier may be
/// missing (RFC 9700 §4.8.2).
fn must_meet_challenge(
    challenge: Option<&CodeChallenge>,
    verifier: Option<&str>,
    may_omit: bool,
) -> Result<(), Refusal> {
    match (challenge, verifier) {
        (None, None) if may_omit => Ok(()),
        (None, None) => Err(Refusal::CodeWithoutChallenge),
        (None, Some(_)) => Err(Refusal::UnexpectedCodeVerifier),
        (Some(_), None) => Err(Refusal::MissingCodeVerifier),
        (Some(_), Some(verifier)) if !is_code_verifier(verifier) => Err(Refusal::MalformedCodeVerifier),
        (Some(challenge), Some(verifier)) if challenge.is_met_by_text(verifier) => Ok(()),
        (Some(_), Some(_)) => Err(Refusal::WrongCodeVerifier),
    }
}
