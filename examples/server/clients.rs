//! Clients in the JSON format of RFC 7591 §2, and the built-in ones.

use std::collections::BTreeSet;
use std::fmt;

use grantor::client::{ClientCredential, ClientParts, ClientType, RedirectUri, SetBy};
use grantor::{Client, ClientId, ClientSecret, GrantType, Scope};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::registration;
use crate::session::random_text;

/// A client in the JSON format of RFC 7591. Unknown members are errors, so that a misspelt member does not go
/// unnoticed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ClientMetadata {
    pub(crate) client_id: String,
    pub(crate) client_secret: Option<String>,
    /// Defaults to `code` if the client may use the authorization code grant.
    response_types: Option<Vec<String>>,
    #[serde(default)]
    application_type: ApplicationType,
    /// All other members, which are listed in [`ClientParts::MEMBERS`]. The administrator may set each of them.
    #[serde(flatten, deserialize_with = "without_repeats")]
    members: Map<String, Value>,
}

/// Reads members and rejects repeated ones, because either value could be meant.
fn without_repeats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the members of a client")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Map::new();
            while let Some((name, value)) = map.next_entry::<String, Value>()? {
                if members.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                }
                members.insert(name, value);
            }
            Ok(members)
        }
    }
    deserializer.deserialize_map(Members)
}

/// Whether a client runs on a user's device (`OpenID` Connect Dynamic Client Registration §2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ApplicationType {
    #[default]
    Web,
    Native,
}

/// Settings for all clients, from the flags.
pub(crate) struct Rules<'a> {
    /// Whether clients may use the insecure legacy features.
    pub(crate) legacy: bool,
    /// Whether native clients may redirect to schemes without a dot. The policy lists the schemes.
    pub(crate) undotted_schemes: bool,
    /// The scope of the client credentials grant for clients without a scope.
    pub(crate) default_scope: &'a str,
}

impl ClientMetadata {
    /// Returns the client that this describes.
    pub(crate) fn to_client(&self, rules: &Rules<'_>) -> Result<Client, String> {
        self.convert(rules).map_err(|problem| format!("the client {:?}: {problem}", self.client_id))
    }

    /// Returns the name that users see.
    pub(crate) fn client_name(&self) -> Option<&str> {
        self.members.get("client_name")?.as_str()
    }

    fn convert(&self, rules: &Rules<'_>) -> Result<Client, String> {
        let id =
            ClientId::new(&self.client_id).map_err(|_| "client_id must have 1 to 255 printable ASCII characters")?;
        let mut parts = ClientParts::new(id, self.client_type()?);
        let mut members = self.members.clone();
        // The administrator wrote the file. By default, the library treats clients as registered by themselves.
        members.entry("registered_by").or_insert_with(|| "administrator".into());
        parts.set_members(&mut members, SetBy::Host).map_err(|error| error.to_string())?;
        if let Some(name) = members.keys().next() {
            return Err(format!("the member {name:?} is unknown: check its spelling"));
        }
        if !self.members.contains_key("grant_types") && !parts.resource_server {
            parts.grant_types.extend(GrantType::new(GrantType::AUTHORIZATION_CODE));
        }
        self.check_response_types(&parts.grant_types)?;
        if let Some(secret) = &self.client_secret {
            parts.credentials.push(ClientCredential::secret(&ClientSecret::new(secret)));
        }
        if parts.grant_types.contains(GrantType::CLIENT_CREDENTIALS) {
            let own = parts.own_scope.as_ref().or(parts.scope.as_ref());
            parts.own_scope = Some(with_own_account(own.map_or(rules.default_scope, Scope::as_str))?);
        }
        parts.undotted_schemes |= rules.undotted_schemes && parts.client_type == ClientType::Native;
        if rules.legacy {
            keep_legacy_habits(&mut parts);
        }
        Client::from_parts(parts).map_err(|error| error.to_string())
    }

    /// Returns the type of the client. A client with a secret, or with a key to authenticate, is confidential.
    fn client_type(&self) -> Result<ClientType, &'static str> {
        let native = self.application_type == ApplicationType::Native;
        let method = self.members.get("token_endpoint_auth_method").and_then(Value::as_str);
        let has_key = method == Some("private_key_jwt");
        match &self.client_secret {
            Some(_) if native => Err("a native application can't keep a secret: remove client_secret"),
            Some(_) if has_key => Err("a client with a key needs no secret: remove client_secret"),
            None if native && has_key => {
                Err("a native application can't keep a key: use another authentication method")
            }
            None if has_key => Ok(ClientType::Confidential),
            Some(secret) if secret.is_empty() || !secret.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) => {
                Err("client_secret must have at least one character, and only printable ASCII characters")
            }
            Some(_) => Ok(ClientType::Confidential),
            None if native => Ok(ClientType::Native),
            None => Ok(ClientType::Public),
        }
    }

    /// Checks that each response type comes with its grant type, and the other way round (RFC 7591 §2.1).
    fn check_response_types(&self, grant_types: &BTreeSet<GrantType>) -> Result<(), String> {
        let uses = |grant_type| grant_types.contains(grant_type);
        let given: Vec<&str> = match &self.response_types {
            Some(types) => types.iter().map(String::as_str).collect(),
            None if uses("authorization_code") => vec!["code"],
            None => Vec::new(),
        };
        if let Some(unknown) = given.iter().find(|name| !matches!(**name, "code" | "token")) {
            return Err(format!("the response type {unknown:?} is not offered: use code or token"));
        }
        for (response_type, grant_type) in [("code", "authorization_code"), ("token", "implicit")] {
            if given.contains(&response_type) != uses(grant_type) {
                return Err(format!(
                    "response type {response_type:?} and grant type {grant_type:?} must go together (RFC 7591 section 2.1)"
                ));
            }
        }
        Ok(())
    }
}

/// Adds the scope with which an application changes its own registration.
fn with_own_account(scope: &str) -> Result<Scope, String> {
    Scope::parse(&format!("{scope} {}", registration::SCOPE)).map_err(|error| format!("the scope {scope:?}: {error}"))
}

/// Turns the insecure legacy features on for a client. The policy has to allow them, too.
pub(crate) const fn keep_legacy_habits(parts: &mut ClientParts) {
    parts.legacy.plain_pkce = true;
    parts.legacy.token_parameters_in_query = true;
    // Public clients always need PKCE: otherwise anyone who sees a code could redeem it.
    parts.legacy.pkce_optional = matches!(parts.client_type, ClientType::Confidential);
}

/// Returns one client of each kind, with new secrets.
pub(crate) fn built_in(scopes: &[&str], default_scope: &str, legacy: bool) -> Vec<ClientMetadata> {
    let (scope, redirect_uri) = (scopes.join(" "), "http://127.0.0.1/callback");
    let mut clients = json!([
        { "client_id": "web", "client_secret": random_text(), "client_name": "Example web app", "scope": scope,
          "redirect_uris": [redirect_uri], "grant_types": ["authorization_code", "refresh_token"] },
        { "client_id": "public", "client_name": "Example browser app", "scope": scope,
          "redirect_uris": [redirect_uri], "grant_types": ["authorization_code", "refresh_token"] },
        { "client_id": "machine", "client_secret": random_text(), "client_name": "Example machine", "scope": default_scope,
          "grant_types": ["client_credentials"] },
        { "client_id": "api", "client_secret": random_text(), "client_name": "Example API, a resource server",
          "resource_server": true },
    ]);
    if legacy {
        clients[0]["redirect_uris"] = json!([redirect_uri, RedirectUri::OUT_OF_BAND]);
        clients[0]["grant_types"] = json!(["authorization_code", "refresh_token", "implicit", "password"]);
        clients[0]["response_types"] = json!(["code", "token"]);
    }
    serde_json::from_value(clients).expect("these are the members of a client")
}

#[cfg(test)]
mod tests {
    use grantor::client::AuthenticationMethod;

    use super::*;

    fn read(json: &str, legacy: bool) -> Result<Client, String> {
        let metadata: ClientMetadata = serde_json::from_str(json).map_err(|error| error.to_string())?;
        metadata.to_client(&Rules { legacy, undotted_schemes: false, default_scope: "user:read" })
    }

    #[test]
    fn omitted_members_get_the_defaults_of_rfc_7591() {
        let client =
            read(r#"{"client_id":"a","client_secret":"x","redirect_uris":["https://a.example/"]}"#, false).unwrap();
        assert!(client.is_confidential() && client.allows_grant_type("authorization_code"));
        assert_eq!(client.grant_types().len(), 1);
        for method in [AuthenticationMethod::ClientSecretBasic, AuthenticationMethod::ClientSecretPost] {
            assert!(client.allows_authentication_method(method));
        }
        let native = r#"{"client_id":"a","application_type":"native","redirect_uris":["com.a:/cb"]}"#;
        assert_eq!(read(native, false).unwrap().client_type(), ClientType::Native);
        let public = r#"{"client_id":"a","token_endpoint_auth_method":"none","redirect_uris":["https://a.example/"]}"#;
        assert_eq!(read(public, false).unwrap().client_type(), ClientType::Public);
    }

    #[test]
    fn resource_server_needs_a_secret_and_nothing_else() {
        let api = read(r#"{"client_id":"a","client_secret":"x","resource_server":true}"#, false).unwrap();
        assert!(api.is_resource_server() && api.grant_types().is_empty());
        let both =
            r#"{"client_id":"a","client_secret":"x","resource_server":true,"grant_types":["client_credentials"]}"#;
        let both = read(both, false).unwrap();
        assert!(both.is_resource_server() && both.allows_grant_type("client_credentials"));
        let problem = read(r#"{"client_id":"a","resource_server":true}"#, false).unwrap_err();
        assert!(problem.contains("resource server"), "{problem}");
        let app = r#"{"client_id":"a","client_secret":"x","redirect_uris":["https://a.example/"]}"#;
        assert!(!read(app, false).unwrap().is_resource_server());
        assert!(
            built_in(&["a"], "a", false)
                .iter()
                .filter(|client| client
                    .to_client(&Rules { legacy: false, undotted_schemes: false, default_scope: "a" })
                    .unwrap()
                    .is_resource_server())
                .count()
                == 1
        );
    }

    #[cfg(feature = "jwt")]
    #[test]
    fn client_with_a_key_is_confidential_and_has_no_secret() {
        let client = |members: &str| {
            let method = r#""token_endpoint_auth_method":"private_key_jwt","grant_types":["client_credentials"]"#;
            read(&format!("{{\"client_id\":\"a\",{method}{members}}}"), false)
        };
        let key = r#"{"kty":"OKP","crv":"Ed25519","kid":"2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let algorithm = r#","token_endpoint_auth_signing_alg":"EdDSA""#;
        let by_key = client(&format!(r#","jwks":{{"keys":[{key}]}}{algorithm}"#)).unwrap();
        assert!(by_key.is_confidential() && by_key.credentials().is_empty());
        assert!(by_key.allows_authentication_method(AuthenticationMethod::PrivateKeyJwt));
        assert_eq!(by_key.jwks().unwrap().keys()[0].id(), Some("2026"));
        let private = key.replace('}', r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#);
        for (members, expected) in [
            (String::new(), "must have keys"),
            (format!(r#","jwks":{{"keys":[{private}]}}"#), "private or symmetric key"),
            (format!(r#","jwks":{{"keys":[{key}]}},"token_endpoint_auth_signing_alg":"RS256""#), "RS256"),
            (format!(r#","jwks":{{"keys":[{key}]}},"token_endpoint_auth_signing_alg":"HS256""#), "HS256"),
        ] {
            let problem = client(&members).unwrap_err();
            assert!(problem.contains(expected) && !problem.contains("nWGxne"), "{members}: {problem}");
        }
    }

    #[test]
    fn metadata_that_contradicts_itself_is_refused() {
        let contradictions = [
            (r#""grant_types":["implicit"]"#, "response type \"token\""),
            (r#""response_types":["token"]"#, "response type \"code\""),
            (r#""response_types":[]"#, "response type \"code\""),
            (r#""grant_types":["client_credentials"],"response_types":["code"]"#, "response type \"code\""),
            (r#""response_types":["code","id_token"]"#, "\"id_token\" is not offered"),
            (r#""token_endpoint_auth_method":"client_secret_basic""#, "public client"),
            (r#""client_secret":"""#, "client_secret"),
            (r#""client_secret":"x","token_endpoint_auth_method":"none""#, "confidential client"),
            (r#""client_secret":"x","application_type":"native""#, "native"),
            (r#""token_endpoint_auth_method":"private_key_jwt","client_secret":"x""#, "needs no secret"),
            (r#""token_endpoint_auth_method":"private_key_jwt","application_type":"native""#, "native"),
            (r#""clientname":"x""#, "\"clientname\" is unknown"),
            (r#""scope":1"#, "scope: "),
            (r#""client_name":"A","client_name":"B""#, "duplicate field `client_name`"),
            (r#""client_secret":"x","client_secret":"y""#, "duplicate field `client_secret`"),
        ];
        for (members, expected) in contradictions {
            let json = format!(r#"{{"client_id":"a","redirect_uris":["https://a.example/"],{members}}}"#);
            let problem = read(&json, false).unwrap_err();
            assert!(problem.contains(expected), "{members}: {problem}");
        }
    }

    // Regression: any client with the grant may read and change its own registration.
    #[test]
    fn client_credentials_bring_the_own_account_scope() {
        let machine = r#""client_id":"a","client_secret":"x","grant_types":["client_credentials"]"#;
        for (members, own) in [
            ("", "application user:read"),
            (r#","scope":"b""#, "application b"),
            (r#","scope":"b","own_scope":"c""#, "application c"),
            (r#","own_scope":"application""#, "application"),
        ] {
            let client = read(&format!("{{{machine}{members}}}"), false).unwrap();
            assert_eq!(client.own_scope().map(Scope::as_str), Some(own), "{members}");
        }
        let app = read(r#"{"client_id":"a","redirect_uris":["https://a.example/"]}"#, false).unwrap();
        assert_eq!(app.own_scope(), None);
    }

    #[test]
    fn legacy_habits_need_the_flag_and_keep_public_pkce() {
        let public = r#"{"client_id":"a","redirect_uris":["https://a.example/"]}"#;
        let confidential = r#"{"client_id":"a","client_secret":"x","redirect_uris":["https://a.example/"]}"#;
        for (json, legacy, expected) in [
            (public, false, [false, false, false]),
            (confidential, false, [false, false, false]),
            (public, true, [false, true, true]),
            (confidential, true, [true, true, true]),
        ] {
            let client = read(json, legacy).unwrap();
            let habits = [client.is_pkce_optional(), client.may_use_plain_pkce(), client.may_use_query()];
            assert_eq!(habits, expected, "{json} {legacy}");
        }
    }
}
