//! [`JwtProblem`]: why a signed text is not accepted.

/// The reason why a signed text of a client is not accepted. The observer gets it; the client does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtProblem {
    /// The text is not a JWS in the compact form (RFC 7515 §7.1) with a JSON object as payload, has a header that is not
    /// supported, or is too long. An encrypted text has five parts and is malformed, too.
    #[error("the text is not a signed JSON object in the compact form, or is too long")]
    Malformed,
    /// The header names the type (`typ`) of another kind of text (RFC 8725 §3.11).
    #[error("the text has another type")]
    Type,
    /// The algorithm is not accepted, or is not the one that is registered for the client (RFC 8725 §3.1).
    #[error("the algorithm of the text is not accepted")]
    Algorithm,
    /// The client has no keys.
    #[error("the client has no registered keys")]
    NoKeys,
    /// No registered key has the identifier (`kid`) and suits the algorithm of the text.
    #[error("no key has the identifier and algorithm of the text")]
    UnknownKey,
    /// More than four registered keys could have signed the text. The header must name one (`kid`).
    #[error("more than four keys suit the text: name one in the header (kid)")]
    AmbiguousKey,
    /// The signature does not match.
    #[error("the signature does not match")]
    Signature,
    /// The claim with this name is missing.
    #[error("the claim {0} is missing")]
    MissingClaim(&'static str),
    /// The claim with this name does not have the form that its specification requires.
    #[error("the claim {0} is malformed")]
    MalformedClaim(&'static str),
    /// The claim with this name is not allowed in this kind of text.
    #[error("the claim {0} is not allowed here")]
    UnexpectedClaim(&'static str),
    /// The issuer (`iss`) is not the client.
    #[error("the claim iss is not the client identifier")]
    Issuer,
    /// The subject (`sub`) is not the client.
    #[error("the claim sub is not the client identifier")]
    Subject,
    /// The claim `client_id` of a request object is not the `client_id` beside it (RFC 9101 §6.3).
    #[error("the claim client_id is not the parameter client_id of the request")]
    ClientId,
    /// The audience (`aud`) is not exactly the issuer identifier of this server.
    #[error("the claim aud is not the issuer identifier of this server alone")]
    Audience,
    /// The text has expired (`exp`).
    #[error("the text has expired: compare the clocks of the client and the server")]
    Expired,
    /// The text is not valid yet (`nbf`), or was made in the future (`iat`).
    #[error("the text is not valid yet: compare the clocks of the client and the server")]
    NotYetValid,
    /// The text is valid for too long.
    #[error("the text is valid for too long: choose an earlier exp")]
    LongLived,
    /// The text was used before (`jti`).
    #[error("the text was used before: sign a new one with another jti for each request")]
    Replayed,
}
