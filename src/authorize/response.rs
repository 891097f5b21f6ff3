//! Authorization responses (RFC 6749 §4.1.2, §4.2.2) with the issuer identifier (RFC 9207).

use std::fmt;
use std::sync::Arc;

use super::AuthorizationEndpoint;
use super::error::StaleForm;
use super::pages::PageOf;
use super::redirect::RedirectTarget;
use crate::client::Client;
use crate::error::{Error, Refusal};
use crate::http::{Languages, Response};
use crate::issue::TokenResponse;
use crate::params::encode_component;
use crate::secret::{AccessToken, AuthorizationCode};

/// The part of the redirect URI that contains the response (OAuth 2.0 Multiple Response Type Encoding Practices §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResponseMode {
    Query,
    Fragment,
}

/// The destination and form of a response. It exists only after the redirect URI was checked.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) target: RedirectTarget,
    pub(super) mode: ResponseMode,
    pub(super) state: Option<Box<str>>,
}

impl fmt::Debug for Route {
    /// Leaves out the state, by which the client recognises its own requests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("target", &self.target).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The response to a pending authorization request: the decision of the user, or a failure.
#[derive(Debug)]
#[must_use = "the browser is waiting for this response"]
pub struct AuthorizationResponse {
    pub(super) endpoint: Arc<AuthorizationEndpoint>,
    pub(super) client: Arc<Client>,
    pub(super) route: Route,
    /// The languages of the user, for a page.
    pub(super) languages: Languages,
    pub(super) outcome: Outcome,
    /// The way back to the request, if the user has already decided with the form or an earlier consent has ended.
    pub(super) stale: Option<StaleForm>,
    /// Whether to ask the user before the redirect.
    pub(super) ask_first: bool,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Code(AuthorizationCode),
    Token(Box<TokenResponse>),
    Error(Error),
}

impl AuthorizationResponse {
    /// Returns the code, if one was issued.
    #[must_use]
    pub const fn code(&self) -> Option<&AuthorizationCode> {
        match &self.outcome {
            Outcome::Code(code) => Some(code),
            _ => None,
        }
    }

    /// Returns the access token, if the implicit grant issued one.
    #[must_use]
    pub const fn access_token(&self) -> Option<&AccessToken> {
        match &self.outcome {
            Outcome::Token(tokens) => Some(&tokens.access_token),
            _ => None,
        }
    }

    /// Returns the error, if there is one. A denial, [`Refusal::UsedFormToken`] and [`Refusal::ConsentEnded`] are
    /// errors, too.
    #[must_use]
    pub const fn error(&self) -> Option<&Error> {
        match &self.outcome {
            Outcome::Error(error) => Some(error),
            _ => None,
        }
    }

    /// Returns the stale decision if the user had already decided with the consent form, or if an earlier consent has
    /// ended ([`Refusal::ConsentEnded`]). The client learns nothing of it. See
    /// [`AuthorizationError::stale_form`](crate::AuthorizationError::stale_form).
    #[must_use]
    pub const fn stale_form(&self) -> Option<&StaleForm> {
        self.stale.as_ref()
    }

    /// Returns the `state` of the request, if it has one.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.route.state.as_deref()
    }

    /// Returns the redirect URI of the response.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        self.route.target.uri()
    }

    /// Returns the HTTP response. It is a redirect with 303 to the client, or back to the request if an earlier consent
    /// has ended. It is a page in three cases: the response can't be redirected, the user must be asked before the
    /// redirect, or the user has already decided with the same form.
    pub fn into_http(self) -> Response {
        let Self { endpoint, client, route, languages, outcome, stale, ask_first } = self;
        let out_of_band = route.target.is_out_of_band();
        let return_target = stale.as_ref().and_then(StaleForm::return_target);
        // The request starts again, now with a consent page.
        if let (Outcome::Error(Error::Refused(Refusal::ConsentEnded)), Some(target)) = (&outcome, return_target) {
            return Response::see_other(target.to_owned());
        }
        match &outcome {
            // The client has already got the response to the first decision.
            Outcome::Error(error) if stale.is_some() => {
                endpoint.pages.show_error(error, &languages, PageOf { return_target, ..PageOf::client(&client) })
            }
            Outcome::Error(error) => endpoint.respond_with_error(&client, &route, error, &languages, ask_first),
            Outcome::Code(code) if out_of_band => endpoint.pages.show_code(code.expose(), &client, &languages),
            // The checks refuse such a request. A page never shows a token.
            Outcome::Token(_) if out_of_band => {
                endpoint.pages.show_error(&Refusal::OutOfBandToken.into(), &languages, PageOf::client(&client))
            }
            Outcome::Code(code) => Response::see_other(code_location(&route, code, &endpoint.server.encoded_issuer)),
            Outcome::Token(tokens) => {
                Response::see_other(token_location(&route, tokens, &endpoint.server.encoded_issuer))
            }
        }
    }
}

impl From<AuthorizationResponse> for Response {
    fn from(response: AuthorizationResponse) -> Self {
        response.into_http()
    }
}

/// Returns the redirect URI with a code (RFC 6749 §4.1.2).
fn code_location(route: &Route, code: &AuthorizationCode, encoded_issuer: &str) -> String {
    // A code is base64url, which needs no encoding.
    RedirectBuilder::begin(route).push_unencoded("code", code.expose()).end(route, encoded_issuer)
}

/// Returns the redirect URI with an access token (RFC 6749 §4.2.2).
fn token_location(route: &Route, tokens: &TokenResponse, encoded_issuer: &str) -> String {
    RedirectBuilder::begin(route)
        .push_unencoded("access_token", tokens.access_token.expose())
        .push("token_type", &tokens.token_type)
        .push("expires_in", &tokens.expires_in.whole_seconds().to_string())
        .push("scope", tokens.scope.as_str())
        .end(route, encoded_issuer)
}

/// Returns the redirect URI with an error (RFC 6749 §4.1.2.1).
pub(super) fn error_location(route: &Route, error: &Error, encoded_issuer: &str) -> String {
    // The error code of an extension may have characters that need encoding (RFC 6749 §4.1.2.1).
    let builder = RedirectBuilder::begin(route).push("error", error.code().as_str());
    builder.push("error_description", &error.description()).end(route, encoded_issuer)
}

/// Adds parameters to a redirect URI. It keeps the query of the URI (RFC 6749 §3.1.2).
struct RedirectBuilder {
    location: String,
    /// The text before the next parameter.
    separator: &'static str,
}

impl RedirectBuilder {
    fn begin(route: &Route) -> Self {
        let uri = route.target.uri();
        let separator = match (route.mode, uri.split_once('?')) {
            (ResponseMode::Fragment, _) => "#",
            (ResponseMode::Query, None) => "?",
            (ResponseMode::Query, Some((_, ""))) => "",
            (ResponseMode::Query, Some(_)) => "&",
        };
        let state = route.state.as_ref().map_or(0, |state| state.len());
        let mut location = String::with_capacity(uri.len() + state + 160);
        location.push_str(uri);
        Self { location, separator }
    }

    fn push(self, name: &str, value: &str) -> Self {
        encode_component(value).fold(self.push_unencoded(name, ""), |mut builder, part| {
            builder.location.push_str(part);
            builder
        })
    }

    /// Adds a parameter whose value needs no encoding.
    fn push_unencoded(mut self, name: &str, value: &str) -> Self {
        for part in [self.separator, name, "=", value] {
            self.location.push_str(part);
        }
        self.separator = "&";
        self
    }

    fn end(self, route: &Route, encoded_issuer: &str) -> String {
        let builder = match &route.state {
            Some(state) => self.push("state", state),
            None => self,
        };
        builder.push_unencoded("iss", encoded_issuer).location
    }
}
