//! What a request demands of login and pages: `prompt` and `max_age` (OpenID Connect Core §3.1.2.1, RFC 9470 §4).
//!
//! They count for every request, not only for those with the scope `openid`.

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
    /// Whether the request has each [`Prompt`], in their order.
    prompts: [bool; 4],
    /// In seconds.
    max_age: Option<i64>,
}

/// How a login compares with the age that a request allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    Fresh,
    Stale,
    /// The application did not say when the user logged in.
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

    /// Whether no page may be shown.
    pub(super) const fn is_silent(&self) -> bool {
        self.has(Prompt::None)
    }

    pub(super) const fn max_age(&self) -> Option<i64> {
        self.max_age
    }

    /// Whether a new login is demanded, however young the present one is.
    pub(super) fn wants_login(&self) -> bool {
        self.has(Prompt::Login) || self.max_age == Some(0)
    }

    /// Whether a login can be too old.
    pub(super) fn limit_age(&self) -> bool {
        self.wants_login() || self.max_age.is_some()
    }

    /// The age counts from when the request was first seen: a user who logged in for it and then reads a page for long has done
    /// enough.
    pub(super) fn freshness(&self, session: &UserSession, progress: &Progress) -> Freshness {
        let greatest_age = if self.wants_login() { Some(0) } else { self.max_age };
        match (greatest_age, session.authenticated_at) {
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
