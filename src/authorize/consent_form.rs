//! [`ConsentForm`]: the fields of a submitted consent form.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Refusal;
use crate::http::Request;
use crate::params::decode_form;

/// The fields of a submitted consent form, read by [`resume_form`](crate::AuthorizationServer::resume_form):
/// `form_token` (hidden), `decision` (the button, `approve` or `deny`) and any number of `scope` (a checkbox for each
/// scope token).
///
/// It reads a repeated field, which form extractors of web frameworks rarely do. Any decision other than exactly one
/// `approve` is a denial. If your form has other fields, read it yourself and call
/// [`resume`](crate::AuthorizationServer::resume).
#[non_exhaustive]
pub struct ConsentForm {
    pub(super) form_token: Zeroizing<String>,
    /// Whether the user approved.
    pub approved: bool,
    /// The selected scope tokens. Pass them to [`Approval::scope`](crate::Approval::scope).
    pub scope: Vec<String>,
}

impl ConsentForm {
    /// Reads a form. Refuses a request that is not a form, is too large or incomplete, can't be decoded, has one of the
    /// fields in its query, or does not have exactly one `form_token`.
    pub(super) fn read(request: &Request, max_body: usize) -> Result<Self, Refusal> {
        if request.method() != "POST" {
            return Err(Refusal::MethodNotAllowed("POST"));
        }
        request.check_body(max_body)?;
        request.check_query(&["form_token", "decision", "scope"])?;
        if !request.is_form() {
            return Err(Refusal::NotAForm);
        }
        let (mut form_tokens, mut decisions, mut scope) = (Vec::new(), Vec::new(), Vec::new());
        for (name, value) in decode_form(request.body()) {
            let value = value.ok_or(Refusal::MalformedEncoding)?;
            match name.as_deref() {
                Some("form_token") => form_tokens.push(Zeroizing::new(value.into_owned())),
                Some("decision") => decisions.push(value),
                Some("scope") => scope.push(value.into_owned()),
                Some(_) => {}
                None => return Err(Refusal::MalformedEncoding),
            }
        }
        if form_tokens.len() > 1 {
            return Err(Refusal::RepeatedParameter("form_token"));
        }
        let form_token = form_tokens.pop().ok_or(Refusal::MissingParameter("form_token"))?;
        let approved = matches!(decisions.as_slice(), [only] if only == "approve");
        Ok(Self { form_token, approved, scope })
    }
}

impl fmt::Debug for ConsentForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsentForm")
            .field("approved", &self.approved)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ConsentForm, Refusal> {
        ConsentForm::read(&Request::post_form("/consent", body), 100)
    }

    #[test]
    fn every_checked_scope_is_read() {
        let form = read("form_token=t&scope=user%3Aread&scope=user%3Awrite&decision=approve").unwrap();
        assert_eq!((form.form_token.as_str(), form.approved), ("t", true));
        assert_eq!(form.scope, ["user:read", "user:write"]);
    }

    #[test]
    fn only_one_clear_approval_approves() {
        for decision in ["", "&decision=deny", "&decision=", "&decision=Approve", "&decision=approve&decision=deny"] {
            let form = read(&format!("form_token=t{decision}")).unwrap();
            assert!(!form.approved, "{decision}");
        }
    }

    #[test]
    fn form_without_exactly_one_token_is_refused() {
        assert_eq!(read("decision=approve").unwrap_err(), Refusal::MissingParameter("form_token"));
        assert_eq!(read("form_token=a&form_token=b").unwrap_err(), Refusal::RepeatedParameter("form_token"));
        assert_eq!(read("form_token=%ZZ").unwrap_err(), Refusal::MalformedEncoding);
        assert_eq!(ConsentForm::read(&Request::get("/consent"), 100).unwrap_err(), Refusal::MethodNotAllowed("POST"));
        let json = Request::new("POST", "/consent").with_header("content-type", "application/json");
        assert_eq!(ConsentForm::read(&json, 100).unwrap_err(), Refusal::NotAForm);
        for name in ["form_token", "decision", "scope"] {
            let both = Request::post_form(format!("/consent?tenant=1&{name}=x"), "form_token=t&decision=approve");
            assert_eq!(ConsentForm::read(&both, 100).unwrap_err(), Refusal::ParameterInQuery(name));
        }
        assert!(ConsentForm::read(&Request::post_form("/consent?tenant=1", "form_token=t"), 100).is_ok());
        let long = format!("form_token={}", "x".repeat(100));
        assert_eq!(read(&long).unwrap_err(), Refusal::BodyTooLarge);
        let broken = Request::post_form("/consent", "form_token=t&decision=approve").with_broken_body();
        assert_eq!(ConsentForm::read(&broken, 100).unwrap_err(), Refusal::BrokenBody);
    }
}
