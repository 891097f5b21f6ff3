//! The refresh token grant (RFC 6749 §6) with rotation and reuse detection (RFC 9700 §4.14.2).

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{Decision, GrantContext, GrantHandler, Order, RedeemToken, RepeatRefresh, Replayed, VerifiedToken};
use crate::error::{Error, Refusal};
use crate::policy::EffectiveLifetimes;
use crate::record::{Grant, GrantType, Spent};
use crate::scope::Scope;
use crate::secret::{RefreshToken, kind};

/// The handler that issues an access token for a refresh token. With rotation, it also replaces the refresh token.
pub(crate) struct RefreshTokenGrant;

#[async_trait]
impl GrantHandler for RefreshTokenGrant {
    fn grant_type(&self) -> &GrantType {
        const { &GrantType::built_in(GrantType::REFRESH_TOKEN) }
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["refresh_token"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let token = RefreshToken::new(context.params.require("refresh_token")?);
        let requested = context.params.get("scope")?;
        let presented = context.find(token).await?.must_belong_to(context.client)?;
        Ok(refresh(presented, requested, context)?)
    }
}

/// The order of the checks matters:
/// 1. The requested scope and resource against the grant. A wrong one gets the same error in every state of the token,
///    and changes nothing.
/// 2. The state of the grant, so that a token of a dead grant reveals nothing more.
/// 3. Reuse, before expiry.
/// 4. Checks that are the same for an unspent token and for a token that was spent within its grace window.
fn refresh(
    presented: VerifiedToken<kind::RefreshToken>,
    requested: Option<&str>,
    context: &GrantContext<'_>,
) -> Result<Decision, Refusal> {
    let (policy, now) = (context.policy(), context.now);
    let lifetimes = policy.lifetimes(context.client);
    let scope = narrowed(requested, presented.grant())?;
    let resource = context.server.resources.of_grant(presented.grant(), context.resource.as_ref())?;
    presented.must_have_a_live_grant(now)?;
    let is_repeat = match presented.spent().map(|spent| judge(spent, lifetimes.refresh_grace, now)) {
        None => false,
        Some(Reuse::WithinGrace) => true,
        Some(Reuse::Theft) => return Ok(Decision(Order::Replayed(Replayed::new(&presented)))),
        Some(Reuse::InTheFuture) => return Err(Refusal::SpentInTheFuture),
    };
    if !is_repeat {
        presented.must_not_be_expired(now)?;
    }
    must_not_be_idle(presented.grant(), lifetimes, now)?;
    // The number of a token does not change when it is spent, so spent and unspent tokens get the same result.
    let (number, age) = (presented.token().family_number(), now - presented.grant().opened_at);
    if !policy.allows_refreshes(number.into(), age, &lifetimes) {
        return Err(Refusal::RefreshedTooOften);
    }
    Ok(Decision(if is_repeat {
        Order::Repeat(RepeatRefresh::new(presented, scope, resource))
    } else {
        Order::Redeem(Box::new(RedeemToken::new(presented, scope, resource)))
    }))
}

/// The meaning of the reuse of a spent refresh token.
#[derive(Debug, PartialEq, Eq)]
enum Reuse {
    /// The client lost the response, or has two tabs.
    WithinGrace,
    /// Two parties hold the token, and the server can't tell which of them is the client.
    Theft,
    /// The clocks of the nodes differ by more than the grace window, so the server can't decide.
    InTheFuture,
}

fn judge(spent: &Spent, grace: Duration, now: OffsetDateTime) -> Reuse {
    if !grace.is_positive() {
        return Reuse::Theft;
    }
    let age = now - spent.at;
    if age <= -grace {
        return Reuse::InTheFuture;
    }
    // The seed is erased when a successor is used. A later request with the old token does not come from the client.
    if age < grace && spent.seed.is_some() { Reuse::WithinGrace } else { Reuse::Theft }
}

/// Checks the idle limit of the grant. The expiry of a token that does not rotate does not include this limit. For a
/// token that rotates, the check matters only if its lifetime was shortened since.
fn must_not_be_idle(grant: &Grant, lifetimes: EffectiveLifetimes, now: OffsetDateTime) -> Result<(), Refusal> {
    let idle_end = grant.last_used_at.saturating_add(lifetimes.refresh_token_idle);
    let absolute_end = grant.opened_at.saturating_add(lifetimes.refresh_token_absolute);
    if now < idle_end.min(absolute_end) { Ok(()) } else { Err(Refusal::ExpiredToken) }
}

/// Returns the scope of the new access token: the requested part of the granted scope (RFC 6749 §6).
fn narrowed(requested: Option<&str>, grant: &Grant) -> Result<Scope, Refusal> {
    let Some(requested) = requested else { return Ok(grant.scope.clone()) };
    let requested = Scope::parse(requested).map_err(|_| Refusal::MalformedScope)?;
    if requested.is_subset(&grant.scope) { Ok(requested) } else { Err(Refusal::ScopeExceedsGrant) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AttemptId;
    use crate::secret::Seed;

    fn spent_at(at: OffsetDateTime, with_seed: bool) -> Spent {
        let seed = with_seed.then(|| Seed::from_bytes([1; 32]));
        Spent { at, attempt: AttemptId::from_bytes([0; 16]), seed, seed_until: Some(at + Duration::MINUTE) }
    }

    // covers: B22
    #[test]
    fn grace_window_is_exact_to_the_microsecond() {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(10_000);
        let (grace, tick) = (Duration::seconds(30), Duration::microseconds(1));
        for (now, expected) in [
            (at, Reuse::WithinGrace),
            (at + grace - tick, Reuse::WithinGrace),
            (at + grace, Reuse::Theft),
            (at - grace + tick, Reuse::WithinGrace),
            (at - grace, Reuse::InTheFuture),
        ] {
            assert_eq!(judge(&spent_at(at, true), grace, now), expected, "{}", now - at);
        }
    }

    #[test]
    fn reuse_without_seed_or_grace_is_theft() {
        let at = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(judge(&spent_at(at, false), Duration::seconds(30), at), Reuse::Theft);
        for age in [-5, 0, 5] {
            let now = at + Duration::seconds(age);
            assert_eq!(judge(&spent_at(at, false), Duration::ZERO, now), Reuse::Theft);
            assert_eq!(judge(&spent_at(at, true), Duration::ZERO, now), Reuse::Theft, "the window was closed since");
        }
    }
}
