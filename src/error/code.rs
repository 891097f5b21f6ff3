//! Error codes that clients receive.

use std::fmt;

/// An error code as a client receives it (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(&'static str);

impl ErrorCode {
    /// The error code `invalid_request`.
    pub const INVALID_REQUEST: Self = Self("invalid_request");
    /// The error code `invalid_client`.
    pub const INVALID_CLIENT: Self = Self("invalid_client");
    /// The error code `invalid_grant`.
    pub const INVALID_GRANT: Self = Self("invalid_grant");
    /// The error code `unauthorized_client`.
    pub const UNAUTHORIZED_CLIENT: Self = Self("unauthorized_client");
    /// The error code `unsupported_grant_type`.
    pub const UNSUPPORTED_GRANT_TYPE: Self = Self("unsupported_grant_type");
    /// The error code `unsupported_response_type`.
    pub const UNSUPPORTED_RESPONSE_TYPE: Self = Self("unsupported_response_type");
    /// The error code `invalid_target` (RFC 8707 §2).
    pub const INVALID_TARGET: Self = Self("invalid_target");
    /// The error code `invalid_scope`.
    pub const INVALID_SCOPE: Self = Self("invalid_scope");
    /// The error code `unsupported_token_type` (RFC 7009 §2.2.1).
    pub const UNSUPPORTED_TOKEN_TYPE: Self = Self("unsupported_token_type");
    /// The error code `access_denied`.
    pub const ACCESS_DENIED: Self = Self("access_denied");
    /// The error code `server_error`.
    pub const SERVER_ERROR: Self = Self("server_error");
    /// The error code `temporarily_unavailable`.
    pub const TEMPORARILY_UNAVAILABLE: Self = Self("temporarily_unavailable");
    /// The error code `invalid_token` (RFC 6750 §3.1).
    pub const INVALID_TOKEN: Self = Self("invalid_token");
    /// The error code `insufficient_scope` (RFC 6750 §3.1).
    pub const INSUFFICIENT_SCOPE: Self = Self("insufficient_scope");
    /// The error code `login_required` (OpenID Connect Core §3.1.2.6).
    pub const LOGIN_REQUIRED: Self = Self("login_required");
    /// The error code `consent_required` (OpenID Connect Core §3.1.2.6).
    pub const CONSENT_REQUIRED: Self = Self("consent_required");
    /// The error code `interaction_required` (OpenID Connect Core §3.1.2.6).
    pub const INTERACTION_REQUIRED: Self = Self("interaction_required");
    /// The error code `account_selection_required` (OpenID Connect Core §3.1.2.6).
    pub const ACCOUNT_SELECTION_REQUIRED: Self = Self("account_selection_required");
    /// The error code `unmet_authentication_requirements` (RFC 9470 §5).
    pub const UNMET_AUTHENTICATION_REQUIREMENTS: Self = Self("unmet_authentication_requirements");

    /// The error code `invalid_request_object` (RFC 9101 §7).
    pub const INVALID_REQUEST_OBJECT: Self = Self("invalid_request_object");
    /// The error code `invalid_request_uri` (RFC 9101 §7).
    pub const INVALID_REQUEST_URI: Self = Self("invalid_request_uri");
    /// The error code `request_not_supported` (RFC 9101 §7).
    pub const REQUEST_NOT_SUPPORTED: Self = Self("request_not_supported");
    /// The error code `request_uri_not_supported` (RFC 9101 §7).
    pub const REQUEST_URI_NOT_SUPPORTED: Self = Self("request_uri_not_supported");

    /// Checks and returns the error code of an extension grant (RFC 6749 §8.5). Begin the name with a prefix that
    /// identifies your organization or product.
    ///
    /// # Errors
    /// The name is empty or has a character outside of `%x20-21 / %x23-5B / %x5D-7E`.
    pub const fn extension(name: &'static str) -> Result<Self, InvalidErrorText> {
        if name.is_empty() || !is_error_text(name) {
            return Err(InvalidErrorText);
        }
        Ok(Self(name))
    }

    /// Returns the error code of an extension grant (RFC 6749 §8.5). Use it for a constant: the compiler then checks
    /// the name.
    /// ```
    /// use grantor::ErrorCode;
    ///
    /// const QUOTA: ErrorCode = ErrorCode::from_static("example_quota");
    /// # assert_eq!(QUOTA, "example_quota");
    /// ```
    /// ```compile_fail
    /// const QUOTA: grantor::ErrorCode = grantor::ErrorCode::from_static("example \"quota\"");
    /// # assert_eq!(QUOTA, "example");
    /// ```
    ///
    /// # Panics
    /// The name is empty or has a character outside of `%x20-21 / %x23-5B / %x5D-7E`. [`extension`](Self::extension)
    /// returns an error instead.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(
            !name.is_empty() && is_error_text(name),
            "an error code must not be empty and must be printable ASCII without '\"' and '\\'"
        );
        Self(name)
    }

    /// Returns the code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PartialEq<str> for ErrorCode {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// An error code or description has a character that RFC 6749 §5.2 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("error codes and descriptions must be printable ASCII without '\"' and '\\'")]
#[non_exhaustive]
pub struct InvalidErrorText;

pub(super) const fn is_error_text(text: &str) -> bool {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        if !matches!(bytes[at], 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e) {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_equals_its_text_and_no_other() {
        let (code, text) = (ErrorCode::INVALID_GRANT, "invalid_grant");
        assert!(code == text && code == *text);
        assert!(code != "invalid_scope" && code != *"invalid_scope");
    }
}
