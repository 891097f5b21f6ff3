//! Signed request objects (RFC 9101). A request with an object has the outcome of the same request without one.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::Request;
use grantor::jose::{Signer, SigningKey};
use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::form::Form;
use crate::world::{ISSUER, block_on, client_key};

/// Names that an object can't contain as parameters: claims, and parameters that stand for others.
const OTHERS: [&str; 10] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "request", "request_uri", "return_target"];

/// The longest query that the server reads.
const MAX_QUERY: usize = 65_536;

/// Returns a request with the parameters of a form in an object, and other parameters outside of it. Returns `None` if
/// an object can't contain the parameters.
pub(super) fn request(form: &Form) -> Option<Request> {
    thread_local! {
        static KEY: SigningKey = client_key();
    }
    let pairs = form.pairs.iter().map(|(name, value)| Some((name.clone()?, value.clone()?)));
    let members: BTreeMap<String, String> = pairs.collect::<Option<_>>()?;
    if members.len() < form.pairs.len() || OTHERS.iter().any(|name| members.contains_key(*name)) {
        return None;
    }
    let client_id = members.get("client_id").cloned();
    let mut claims: Map<String, Value> = members.into_iter().map(|(name, value)| (name, value.into())).collect();
    if let Some(Value::String(text)) = claims.get("max_age")
        && let Some(number) = text.parse::<u64>().ok().filter(|number| number.to_string() == *text)
    {
        claims.insert("max_age".to_owned(), number.into());
    }
    claims.insert("iss".to_owned(), client_id.clone().into());
    claims.insert("aud".to_owned(), ISSUER.into());
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let input = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#), part(&Value::Object(claims).to_string()));
    let signature = KEY.with(|key| block_on(key.sign(input.as_bytes()))).expect("a signature");
    let object = format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("request", &object).append_pair("state", "outside").append_pair("scope", "outside");
    if let Some(id) = client_id {
        query.append_pair("client_id", &id);
    }
    let query = query.finish();
    (query.len() <= MAX_QUERY).then(|| Request::get(format!("/authorize?{query}")))
}
