//! The sealed form token: a pending authorization on its way through a consent form.
//!
//! A decision is not an authorization request. What the user saw travels in one field, under a MAC that binds it to whoever
//! has the server key and to the session, so that a decision can be neither forged from another site nor changed on the way. It is
//! not encrypted: the user's own browser has seen all of it in the address bar.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::response::ResponseMode;
use super::{AuthorizationEndpoint, ConsentForm, Failure, PendingAuthorization, ResponseType};
use crate::error::Refusal;
use crate::http::{Request, Response};
use crate::mac::KeyedMac;
use crate::params::Params;
use crate::pkce::{ChallengeMethod, CodeChallenge};

const TAG_LENGTH: usize = 32;

/// What was shown. The scope and the redirect URI are the effective ones, so that a default that changed in the meantime
/// is not slipped in.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    at: i64,
    client_id: String,
    redirect_uri: String,
    redirect_uri_was_sent: bool,
    response_type: String,
    response_mode: String,
    scope: String,
    state: Option<String>,
    code_challenge: Option<CodeChallenge>,
}

pub(super) fn seal(pending: &PendingAuthorization, session: &[u8]) -> String {
    let sealed = Sealed {
        at: pending.endpoint.server.now().unix_timestamp(),
        client_id: pending.client.id().as_str().to_owned(),
        redirect_uri: pending.route.target.uri().to_owned(),
        redirect_uri_was_sent: pending.route.target.was_sent(),
        response_type: match pending.response_type {
            ResponseType::Code => "code".to_owned(),
            ResponseType::Token => "token".to_owned(),
        },
        response_mode: match pending.route.mode {
            ResponseMode::Query => "query".to_owned(),
            ResponseMode::Fragment => "fragment".to_owned(),
        },
        scope: pending.scope.as_str().to_owned(),
        state: pending.route.state.as_deref().map(str::to_owned),
        code_challenge: pending.challenge.clone(),
    };
    // Texts and numbers always serialise; were it ever otherwise, an empty token resumes nothing.
    let mut bytes = serde_json::to_vec(&sealed).unwrap_or_default();
    let tag = mac(pending.endpoint.form_key.mac(), session, &bytes).finish();
    bytes.extend_from_slice(tag.as_slice());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open(endpoint: &AuthorizationEndpoint, token: &str, session: &[u8], now: OffsetDateTime) -> Result<Sealed, Refusal> {
    // A form that belongs to no session could be submitted from any.
    if session.is_empty() {
        return Err(Refusal::InvalidFormToken);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Refusal::InvalidFormToken)?;
    let start_of_tag = bytes.len().checked_sub(TAG_LENGTH).ok_or(Refusal::InvalidFormToken)?;
    let (content, tag) = bytes.split_at(start_of_tag);
    if !endpoint.form_key.verifies(|key| mac(key, session, content), tag) {
        return Err(Refusal::InvalidFormToken);
    }
    let sealed: Sealed = serde_json::from_slice(content).map_err(|_| Refusal::InvalidFormToken)?;
    let age = Duration::seconds(now.unix_timestamp().saturating_sub(sealed.at));
    if age > endpoint.server.policy.consent_lifetime { Err(Refusal::ExpiredFormToken) } else { Ok(sealed) }
}

fn mac(key: KeyedMac, session: &[u8], content: &[u8]) -> KeyedMac {
    // The length keeps the end of the session apart from the beginning of the content.
    key.update(&(session.len() as u64).to_be_bytes()).update(session).update(content)
}

impl AuthorizationEndpoint {
    /// Takes a form token back and checks the request in it again, as if it had just come: the client may have changed.
    pub(crate) async fn resume(
        self: &Arc<Self>,
        token: &str,
        session: &[u8],
    ) -> Result<PendingAuthorization, Response> {
        let now = self.server.now();
        match self.unseal(token, session, now).await {
            Ok(pending) => Ok(pending),
            Err(failure) => Err(self.refuse(failure, now)),
        }
    }

    /// Reads a submitted consent form and takes its form token back.
    pub(crate) async fn resume_form(
        self: &Arc<Self>,
        request: &Request,
        session: &[u8],
    ) -> Result<(PendingAuthorization, ConsentForm), Response> {
        match ConsentForm::read(request, self.server.policy.max_body) {
            Ok(form) => Ok((self.resume(&form.form_token, session).await?, form)),
            Err(refusal) => Err(self.refuse(refusal.into(), self.server.now())),
        }
    }

    async fn unseal(
        self: &Arc<Self>,
        token: &str,
        session: &[u8],
        now: OffsetDateTime,
    ) -> Result<PendingAuthorization, Failure> {
        let sealed = open(self, token, session, now)?;
        let mut params = Params::default();
        params.push("client_id", &*sealed.client_id);
        params.push("redirect_uri", &*sealed.redirect_uri);
        params.push("response_type", &*sealed.response_type);
        params.push("response_mode", &*sealed.response_mode);
        params.push("scope", &*sealed.scope);
        if let Some(state) = &sealed.state {
            params.push("state", &**state);
        }
        if let Some(challenge) = &sealed.code_challenge {
            params.push("code_challenge", challenge.as_str());
            params.push(
                "code_challenge_method",
                match challenge.method() {
                    ChallengeMethod::S256 => "S256",
                    ChallengeMethod::Plain => "plain",
                },
            );
        }
        // The user agreed to the scope and the redirect URI that were shown. If the request had left them out, reading it again
        // would take the defaults as they are now; so the effective values were sealed, and are read back as if sent.
        let mut validated = self.validate(&params).await?;
        validated.route.target = validated.route.target.with_was_sent(sealed.redirect_uri_was_sent);
        Ok(PendingAuthorization::new(Arc::clone(self), validated))
    }
}
