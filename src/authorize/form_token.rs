//! The form token: a pending authorization in one hidden field of a consent form.
//!
//! A MAC binds the field to the server key and to the session, so another site can't forge a decision, and a change of
//! the field is detected. The token contains the request's parameters, which are validated again when the form comes
//! back. The request has a separate seal, so that it can be started again after the form has expired.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::codec::{Reader, put};
use super::form::Form;
use super::seal::{Seal, unproven_content};
use super::steps::{AskedUser, Consent, ConsentReason};
use super::{AuthorizationEndpoint, AuthorizationError, ConsentForm, Failure, Named, PendingAuthorization, Visitor};
use crate::error::Refusal;
use crate::http::Request;

/// The content of a form token. The seal is bound to the session and the issuer, which are not part of the content.
struct Sealed<'a> {
    form: Form,
    shown: [u8; 32],
    user: [u8; 32],
    reason: ConsentReason,
    /// The request, sealed as in a return target.
    request: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.form.encode(&mut bytes);
        put(&mut bytes, &self.shown);
        put(&mut bytes, &self.user);
        put(&mut bytes, self.reason.name().as_bytes());
        put(&mut bytes, self.request);
        bytes
    }

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let sealed = Self {
            form: Form::decode(&mut reader)?,
            shown: reader.array()?,
            user: reader.array()?,
            reason: ConsentReason::from_name(reader.text()?)?,
            request: reader.field()?,
        };
        reader.is_at_end().then_some(sealed)
    }
}

impl ConsentReason {
    const ALL: [Self; 3] = [Self::NotGiven, Self::Requested, Self::Confirm];

    const fn name(self) -> &'static str {
        match self {
            Self::NotGiven => "not_given",
            Self::Requested => "requested",
            Self::Confirm => "confirm",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl PendingAuthorization {
    /// Returns a digest of everything that a consent page can show about the request and the client, and of the values
    /// derived from them. An equal digest later means that the user decides about what the page showed.
    fn shown(&self) -> [u8; 32] {
        let client = &self.client;
        let mut bytes = Vec::new();
        for field in [client.id().as_str(), self.route.target.uri(), self.scope.as_str()] {
            put(&mut bytes, field.as_bytes());
        }
        for field in [client.name(), client.client_uri(), client.logo_uri(), client.policy_uri(), client.tos_uri()] {
            put(&mut bytes, field.unwrap_or_default().as_bytes());
        }
        put(&mut bytes, &self.lifetime().whole_seconds().to_be_bytes());
        put(&mut bytes, &[u8::from(client.is_first_party()), u8::from(client.is_registered_by_administrator())]);
        self.scopes().for_each(|scope| put(&mut bytes, scope.description.as_bytes()));
        put(&mut bytes, &[u8::try_from(self.resources.len()).unwrap_or(u8::MAX)]);
        self.resources().for_each(|resource| put(&mut bytes, resource.as_bytes()));
        client.contacts().iter().for_each(|contact| put(&mut bytes, contact.as_bytes()));
        Sha256::digest(bytes).into()
    }
}

pub(super) fn seal(consent: &Consent, session: &[u8]) -> String {
    let Consent { request, reason, user, form, .. } = consent;
    let sealed = request.sealed();
    let sealed = Sealed {
        form: *form,
        shown: request.shown(),
        user: user.digest(&request.endpoint.user_key),
        reason: *reason,
        request: &sealed,
    };
    request.endpoint.form_seal(&[session, request.endpoint.server.issuer.as_bytes()]).seal(&sealed.encode())
}

impl AuthorizationEndpoint {
    /// Resumes a request from its form token, without facts about the browser.
    pub(crate) async fn resume(self: &Arc<Self>, token: &str, session: &[u8]) -> Result<Consent, AuthorizationError> {
        self.resume_for(token, session, Visitor::default()).await
    }

    /// Resumes a request from its form token. The request is validated again, because the client may have changed.
    async fn resume_for(
        self: &Arc<Self>,
        token: &str,
        session: &[u8],
        visitor: Visitor,
    ) -> Result<Consent, AuthorizationError> {
        let now = self.server.now();
        match self.unseal(token, session, visitor.clone(), now).await {
            Ok(consent) => Ok(consent),
            Err(failure) => Err(self.refuse(failure, &visitor, now)),
        }
    }

    /// Reads a submitted consent form and resumes the request from its form token.
    pub(crate) async fn resume_form(
        self: &Arc<Self>,
        request: &Request,
        session: &[u8],
    ) -> Result<(Consent, ConsentForm), AuthorizationError> {
        match ConsentForm::read(request, self.server.policy.max_body) {
            Ok(form) => Ok((self.resume_for(&form.form_token, session, Visitor::of(request)).await?, form)),
            Err(refusal) => {
                Err(self.refuse(Failure::from(refusal).of_our_form(), &Visitor::of(request), self.server.now()))
            }
        }
    }

    async fn unseal(
        self: &Arc<Self>,
        token: &str,
        session: &[u8],
        visitor: Visitor,
        now: OffsetDateTime,
    ) -> Result<Consent, Failure> {
        let stale = |refusal: Refusal| Failure::from(refusal).with_return_target(self.return_target_in(token));
        // With an empty session, the form could be submitted from any session.
        if session.is_empty() {
            return Err(stale(Refusal::InvalidFormToken));
        }
        let content = self.form_seal(&[session, self.server.issuer.as_bytes()]).open(token).map_err(stale)?;
        let sealed = Sealed::decode(&content).ok_or(Refusal::StaleFormToken)?;
        let Sealed { form, shown, user, reason, request } = sealed;
        if !form.is_good(now) {
            return Err(stale(Refusal::ExpiredFormToken));
        }
        let carried = self.open_request(request.to_vec())?;
        let validated = self.validate_carried(&carried).await?;
        let checked = self.check_by_capabilities(&carried, &validated).await;
        let request = Box::new(self.pend(checked, carried, validated, visitor)?);
        // The client or a setting of the server may have changed since. The user agreed only to what the page showed.
        if request.shown() != shown {
            let return_target = Some(request.return_target());
            let failure = Failure::page(Named::Checked(request.client), Refusal::StaleFormToken);
            return Err(failure.with_return_target(return_target));
        }
        Ok(Consent { request, reason, user: AskedUser::Sealed(user), form, is_sealed: AtomicBool::new(true) })
    }

    /// Returns the return target of the request in a stale form. The seal of the request is separate and not bound to a
    /// session.
    fn return_target_in(&self, token: &str) -> Option<String> {
        let content = unproven_content(token)?;
        self.return_target_of(Sealed::decode(&content)?.request)
    }

    const fn form_seal<'a>(&'a self, bound_to: &'a [&'a [u8]]) -> Seal<'a> {
        Seal { key: &self.form_key, bound_to }
    }
}
