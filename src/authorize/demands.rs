//! The demands of a request on login and pages: `prompt` and `max_age` (OpenID Connect Core §3.1.2.1, RFC 9470 §4).
//!
//! They apply to every request, with or without the scope `openid`.

use super::progress::Progress;
use super::user_session::UserSession;
use crate::error::Refusal;
use crate::params::Params;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prompt {
    None,
    Login,
    Consent,
    SelectAccount,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Demands {
    /// Whether the request has each [`Prompt`], in the order of the variants.
    prompts: [bool; 4],
    /// The maximum age of the login, in seconds.
    max_age: Option<i64>,
}

/// How the age of a login compares with the limit of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    Stale,
    /// The host app did not set the time of the login.
    Unknown,
}

impl Demands {
    pub(super) fn read(params: &Params<'_>) -> Result<Self, Refusal> {
        let mut prompts = [false; 4];
        if let Some(list) = params.get("prompt")? {
            for word in list.split(' ') {
                prompts[prompt(word)? as usize] = true;
            }
            if prompts[Prompt::None as usize] && list != "none" {
                return Err(Refusal::MalformedParameter("prompt"));
            }
        }
        let max_age = params.get("max_age")?.map(seconds).transpose()?;
        Ok(Self { prompts, max_age })
    }

    pub(super) const fn has(&self, prompt: Prompt) -> bool {
        self.prompts[prompt as usize]
    }

    /// Returns whether the request allows no page (`prompt=none`).
    pub(super) const fn is_silent(&self) -> bool {
        self.has(Prompt::None)
    }

    pub(super) const fn max_age(&self) -> Option<i64> {
        self.max_age
    }

    /// Returns whether the request demands a new login, regardless of the age of the present one.
    pub(super) fn wants_login(&self) -> bool {
        self.has(Prompt::Login) || self.max_age == Some(0)
    }

    /// Returns whether the request limits the age of the login.
    pub(super) fn limits_age(&self) -> bool {
        self.wants_login() || self.max_age.is_some()
    }

    /// Compares the age of the login with the limit. The age is measured at the time when the request was first seen,
    /// so a user may spend a long time on the consent page.
    pub(super) fn freshness(&self, session: &UserSession, progress: &Progress) -> Freshness {
        let max_age = if self.wants_login() { Some(0) } else { self.max_age };
        match (max_age, session.authenticated_at) {
            (None, _) => Freshness::Fresh,
            (Some(_), None) => Freshness::Unknown,
            (Some(age), Some(at)) if progress.is_fresh(at, age) => Freshness::Fresh,
            (Some(_), Some(_)) => Freshness::Stale,
        }
    }
}

fn prompt(text: &str) -> Result<Prompt, Refusal> {
    match text {
        "none" => Ok(Prompt::None),
        "login" => Ok(Prompt::Login),
        "consent" => Ok(Prompt::Consent),
        "select_account" => Ok(Prompt::SelectAccount),
        _ => Err(Refusal::MalformedParameter("prompt")),
    }
}

fn seconds(text: &str) -> Result<i64, Refusal> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(Refusal::MalformedParameter("max_age"))
}
