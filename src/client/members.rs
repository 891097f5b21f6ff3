//! The table of a client's members: their names and defaults, who may set them, and whether they restrict the client.
//!
//! All code that reads or writes a registration uses this table: the stored form, a file of the operator, and the
//! registration that a client sends.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{AuthenticationMethod, ClientCredential, ClientType, LegacyHabits, Lifetimes, RedirectUri, RegisteredBy};
use crate::details::UnknownMembers;
use crate::record::{ClientId, GrantType};
use crate::scope::Scope;

/// The party that may set a member of a client. The order is from the least trusted to the most trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum SetBy {
    /// Anyone who registers a client.
    Anyone,
    /// A verified software statement (RFC 7591 §2.3).
    Statement,
    /// The registration policy of the host app, in code.
    Policy,
    /// Only the host app: the member gives the client rights that a registration may not request.
    Host,
}

/// A row of [the table of members](ClientParts::MEMBERS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The name in JSON. It is that of RFC 7591 §2 if the RFC defines one.
    pub name: &'static str,
    /// The least trusted party that may set the member.
    pub set_by: SetBy,
    /// Whether the member restricts the client. The stored form then names it in `crit`, so that a version that does
    /// not know the member issues no tokens to the client.
    pub restricts: bool,
}

/// The reason why a member of a client can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {problem}")]
#[non_exhaustive]
pub struct MemberError {
    /// The name of the member.
    pub member: Box<str>,
    /// The problem of its value.
    pub problem: Box<str>,
}

impl MemberError {
    fn new(member: &str, problem: impl fmt::Display) -> Self {
        Self { member: member.into(), problem: problem.to_string().into() }
    }
}

/// Parses the value of a member.
fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, MemberError> {
    serde_json::from_value(value).map_err(|error| MemberError::new(name, error))
}

/// Adds a member to a stored client, unless it has its default value.
fn put<T: Serialize>(members: &mut Map<String, Value>, name: &str, value: &T, default: &T) {
    // Every value of a registration can be serialized.
    let [value, default] = [value, default].map(|value| serde_json::to_value(value).unwrap_or_default());
    if value != default {
        members.insert(name.to_owned(), value);
    }
}

/// The members that request encrypted introspection responses (RFC 9701 §6).
const ENCRYPTION: [&str; 2] = ["introspection_encrypted_response_alg", "introspection_encrypted_response_enc"];

/// Refuses a registration that requests encryption. Without an error, the client would expect it.
fn refuse_encryption(sent: &Map<String, Value>) -> Result<(), MemberError> {
    let asked = ENCRYPTION.into_iter().find(|name| sent.get(*name).is_some_and(|value| !value.is_null()));
    asked.map_or(Ok(()), |name| Err(MemberError::new(name, "encrypted responses are not supported: remove it")))
}

/// Defines [`ClientParts`] and its readers and writers from the table. A row is `name: type = default, set_by`,
/// followed by `restricts` if the member restricts the client, and by `[feature = "name"]` if the member belongs to a
/// feature. Without the feature the member is unknown. Never change a default: a member with its default value is not
/// stored.
macro_rules! members {
    (@restricts) => { false };
    (@restricts restricts) => { true };
    ($(
        $(#[$doc:meta])* $name:ident: $type:ty = $default:expr, $set_by:ident $($restricts:ident)? $([$feature:meta])?;
    )*) => {
        /// The members of a [`Client`](super::Client) as public fields.
        /// [`Client::from_parts`](super::Client::from_parts) checks them.
        ///
        /// In JSON, missing members take their defaults, and unknown members are refused. A storage uses
        /// [`from_stored`](Self::from_stored) instead, and [`set_members`](Self::set_members) reads a file or a
        /// registration request.
        #[derive(Clone)]
        #[non_exhaustive]
        pub struct ClientParts {
            /// See [`Client::id`](super::Client::id).
            pub client_id: ClientId,
            /// See [`Client::client_type`](super::Client::client_type).
            pub client_type: ClientType,
            $($(#[$doc])* $(#[cfg($feature)])? pub $name: $type,)*
            pub(super) unknown: UnknownMembers,
        }

        impl fmt::Debug for ClientParts {
            /// Leaves out the data of the host app, which may be secret.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct("ClientParts");
                shown.field("client_id", &self.client_id).field("client_type", &self.client_type);
                $($(#[cfg($feature)])? match stringify!($name) {
                    "host_data" => shown.field("host_data", &format_args!("[redacted]")),
                    name => shown.field(name, &self.$name),
                };)*
                shown.field("unknown", &self.unknown).finish()
            }
        }

        impl ClientParts {
            /// The table of members.
            pub const MEMBERS: &'static [Member] = &[
                Member { name: "client_id", set_by: SetBy::Host, restricts: false },
                Member { name: "client_type", set_by: SetBy::Host, restricts: false },
                $($(#[cfg($feature)])? Member {
                    name: stringify!($name),
                    set_by: SetBy::$set_by,
                    restricts: members!(@restricts $($restricts)?),
                },)*
            ];
            const KNOWN: &'static [&'static str] = &["client_id", "client_type", $($(#[cfg($feature)])? stringify!($name)),*];

            /// Returns parts with an identifier and a type, and defaults for all other members.
            #[must_use]
            pub fn new(client_id: ClientId, client_type: ClientType) -> Self {
                Self { client_id, client_type, $($(#[cfg($feature)])? $name: $default,)* unknown: UnknownMembers::default() }
            }

            /// Reads the stored form, and removes the members that it reads from `members`.
            fn take(members: &mut Map<String, Value>) -> Result<Self, MemberError> {
                let mut required = |name| members.remove(name).ok_or_else(|| MemberError::new(name, "is missing"));
                let client_id = read("client_id", required("client_id")?)?;
                let mut parts = Self::new(client_id, read("client_type", required("client_type")?)?);
                $($(#[cfg($feature)])? if let Some(value) = members.remove(stringify!($name)) {
                    parts.$name = read(stringify!($name), value)?;
                })*
                // `to_members` adds the names of restricting members again.
                UnknownMembers::remove_critical(members, &Self::restricting());
                Ok(parts)
            }

            fn restricting() -> Vec<&'static str> {
                Self::MEMBERS.iter().filter(|member| member.restricts).map(|member| member.name).collect()
            }

            fn to_members(&self) -> Map<String, Value> {
                let default = Self::new(self.client_id.clone(), self.client_type);
                let mut members = Map::new();
                members.insert("client_id".to_owned(), self.client_id.as_str().into());
                members.insert("client_type".to_owned(), serde_json::to_value(self.client_type).unwrap_or_default());
                $($(#[cfg($feature)])? put(&mut members, stringify!($name), &self.$name, &default.$name);)*
                self.unknown.clone().with(members, &Self::restricting())
            }

            /// Replaces all members that `by` may set, like an update of a registration (RFC 7592 §2.2). A member that
            /// is missing in `sent` or is `null` takes its default. Members that `by` may not set keep their values,
            /// except [`registered_by`](Self::registered_by): it becomes [`RegisteredBy::SelfService`] unless `by` is
            /// [`SetBy::Host`]. So the client loses the rights of a client that an administrator registered. If the
            /// parts still have a right that only an administrator can give, such as `first_party`,
            /// [`Client::from_parts`](super::Client::from_parts) then refuses them.
            ///
            /// It removes the members that it reads from `sent`. The remaining ones are unknown, or `by` may not set
            /// them. A registration endpoint ignores them (RFC 7591 §2), and a reader of an operator's file should
            /// refuse them. `client_id` and `client_type` are never read.
            ///
            /// # Errors
            /// The value of a member can't be read, or a member requests encrypted responses (RFC 9701 §6), which are
            /// not supported. The parts are unchanged.
            pub fn set_members(&mut self, sent: &mut Map<String, Value>, by: SetBy) -> Result<(), MemberError> {
                refuse_encryption(sent)?;
                let mut changed = self.clone();
                let default = Self::new(self.client_id.clone(), self.client_type);
                $($(#[cfg($feature)])? if SetBy::$set_by <= by {
                    changed.$name = match sent.remove(stringify!($name)) {
                        None | Some(Value::Null) => default.$name,
                        Some(value) => read(stringify!($name), value)?,
                    };
                })*
                if by < SetBy::Host {
                    // A party other than the administrator chose the members.
                    changed.registered_by = RegisteredBy::SelfService;
                }
                *self = changed;
                Ok(())
            }
        }
    };
}

members! {
    /// See [`Client::name`](super::Client::name).
    client_name: Option<String> = None, Anyone;
    /// See [`Client::client_uri`](super::Client::client_uri).
    client_uri: Option<String> = None, Anyone;
    /// See [`Client::logo_uri`](super::Client::logo_uri).
    logo_uri: Option<String> = None, Anyone;
    /// See [`Client::policy_uri`](super::Client::policy_uri).
    policy_uri: Option<String> = None, Anyone;
    /// See [`Client::tos_uri`](super::Client::tos_uri).
    tos_uri: Option<String> = None, Anyone;
    /// See [`Client::contacts`](super::Client::contacts).
    contacts: Vec<String> = Vec::new(), Anyone;
    /// See [`Client::redirect_uris`](super::Client::redirect_uris).
    redirect_uris: Vec<RedirectUri> = Vec::new(), Anyone;
    /// See [`Client::grant_types`](super::Client::grant_types).
    grant_types: BTreeSet<GrantType> = BTreeSet::new(), Anyone;
    /// See [`Client::allowed_scope`](super::Client::allowed_scope).
    scope: Option<Scope> = None, Anyone;
    /// See [`Client::allows_authentication_method`](super::Client::allows_authentication_method).
    token_endpoint_auth_method: Option<AuthenticationMethod> = None, Anyone restricts;
    /// See [`Client::jwks`](super::Client::jwks).
    jwks: Option<crate::jose::JwkSet> = None, Anyone [feature = "jwt"];
    /// See [`Client::jwks_uri`](super::Client::jwks_uri).
    jwks_uri: Option<String> = None, Anyone [feature = "jwt"];
    /// See [`Client::token_endpoint_auth_signing_alg`](super::Client::token_endpoint_auth_signing_alg).
    token_endpoint_auth_signing_alg: Option<crate::jose::Algorithm> = None, Anyone restricts [feature = "jwt"];
    /// See [`Client::request_object_signing_alg`](super::Client::request_object_signing_alg).
    request_object_signing_alg: Option<crate::jose::Algorithm> = None, Anyone restricts [feature = "jwt"];
    /// See [`Client::requires_signed_request_object`](super::Client::requires_signed_request_object).
    require_signed_request_object: bool = false, Anyone restricts [feature = "jwt"];
    /// See [`Client::may_omit_redirect_uri`](super::Client::may_omit_redirect_uri).
    omits_redirect_uri: bool = false, Statement;
    /// See [`Client::has_localhost_for_development`](super::Client::has_localhost_for_development).
    localhost_for_development: bool = false, Policy;
    /// See [`Client::has_undotted_schemes`](super::Client::has_undotted_schemes).
    undotted_schemes: bool = false, Policy;
    /// See [`AllowedScope::AllOffered`](super::AllowedScope::AllOffered). Not together with a [`scope`](Self::scope).
    all_offered_scopes: bool = false, Policy;
    /// See [`Client::own_scope`](super::Client::own_scope).
    own_scope: Option<Scope> = None, Host restricts;
    /// See [`Client::default_scope`](super::Client::default_scope).
    default_scope: Option<Scope> = None, Policy;
    /// See [`Client::registered_by`](super::Client::registered_by). If you read a file of the
    /// administrator, set it or require it in the file.
    registered_by: RegisteredBy = RegisteredBy::default(), Host;
    /// See [`Client::lifetimes`](super::Client::lifetimes).
    lifetimes: Lifetimes = Lifetimes::default(), Host restricts;
    /// See [`Client::credentials`](super::Client::credentials).
    credentials: Vec<ClientCredential> = Vec::new(), Host;
    /// See [`Client::may_send_raw_secret`](super::Client::may_send_raw_secret).
    raw_basic_secret: bool = false, Host;
    /// See [`Client::is_resource_server`](super::Client::is_resource_server).
    resource_server: bool = false, Host;
    /// See [`Client::introspection_signed_response_alg`](super::Client::introspection_signed_response_alg).
    introspection_signed_response_alg: Option<crate::jose::Algorithm> = None, Anyone [feature = "jwt"];
    /// See [`Client::is_first_party`](super::Client::is_first_party).
    first_party: bool = false, Host;
    /// The legacy habits that are allowed for this client. The policy must allow each of them, too.
    legacy: LegacyHabits = LegacyHabits::default(), Host;
    /// See [`Client::host_data`](super::Client::host_data).
    host_data: Value = Value::Null, Host;
}

impl ClientParts {
    /// Reads the JSON of a stored client. A newer version may have written it, so unknown members are kept unchanged.
    /// If one of them is critical, the client gets no tokens from this version: see
    /// [`unenforced_member`](Self::unenforced_member).
    ///
    /// # Errors
    /// The text is not a JSON object, or this version can't read the value of a member.
    pub fn from_stored(json: &str) -> Result<Self, serde_json::Error> {
        let mut members = serde_json::from_str(json)?;
        let parts = Self::take(&mut members).map_err(serde_json::Error::custom)?;
        Ok(Self { unknown: UnknownMembers::new(members), ..parts })
    }

    /// Returns the names of members that this version does not know, and of a critical member that is missing. Do not
    /// change a client that has such members: this version does not know what they mean for the change.
    pub fn unknown_members(&self) -> impl Iterator<Item = &str> {
        let is_missing = |name: &&str| self.unknown.names().all(|own| own != *name);
        self.unknown.names().chain(self.unenforced_member().filter(is_missing))
    }

    /// Returns the first critical member that this version does not enforce. If there is one, the client gets no
    /// tokens.
    #[must_use]
    pub fn unenforced_member(&self) -> Option<&str> {
        self.unknown.first_critical(Self::KNOWN)
    }
}

impl Serialize for ClientParts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_members().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientParts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut members = deserialize_members(deserializer)?;
        let parts = Self::take(&mut members).map_err(D::Error::custom)?;
        let unknown = UnknownMembers::new(members);
        if let Some(name) = unknown.names().next().or_else(|| unknown.first_critical(Self::KNOWN)) {
            return Err(D::Error::custom(format_args!("unknown member `{name}`")));
        }
        Ok(Self { unknown, ..parts })
    }
}

/// Reads a JSON object. Refuses a duplicate member, because it is unclear which value was meant.
fn deserialize_members<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with the members of a client")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut members = Map::new();
            while let Some((name, value)) = access.next_entry::<String, Value>()? {
                if members.contains_key(&name) {
                    return Err(A::Error::custom(format_args!("duplicate member `{name}`")));
                }
                members.insert(name, value);
            }
            Ok(members)
        }
    }
    deserializer.deserialize_map(Members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Client, ClientError};
    use super::*;

    fn parts() -> ClientParts {
        ClientParts::new(ClientId::new("app").unwrap(), ClientType::Public)
    }

    #[test]
    fn member_table_is_the_stored_form() {
        let mut parts = parts();
        assert_eq!(serde_json::to_value(&parts).unwrap(), json!({ "client_id": "app", "client_type": "public" }));
        // Each member has one row, and is read back by its name.
        let mut values = json!({
            "client_name": "App", "client_uri": "https://app.example/", "logo_uri": "https://app.example/logo",
            "policy_uri": "https://app.example/policy", "tos_uri": "https://app.example/tos",
            "contacts": ["ada@app.example"], "host_data": { "owner": "ada" }, "redirect_uris": ["https://app.example/cb"],
            "grant_types": ["authorization_code"], "scope": "b", "all_offered_scopes": true, "own_scope": "c", "token_endpoint_auth_method": "none",
            "omits_redirect_uri": true, "localhost_for_development": true, "undotted_schemes": true, "raw_basic_secret": true, "default_scope": "b", "registered_by": "administrator",
            "lifetimes": Lifetimes { code: Some(time::Duration::SECOND), ..Lifetimes::default() },
            "credentials": [{ "type": "opaque", "expires_at": null }], "resource_server": true, "first_party": true,
            "legacy": LegacyHabits { plain_pkce: true, ..LegacyHabits::default() },
        });
        if cfg!(feature = "jwt") {
            for name in
                ["introspection_signed_response_alg", "token_endpoint_auth_signing_alg", "request_object_signing_alg"]
            {
                values[name] = json!("ES256");
            }
            values["jwks"] = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) }] });
            values["jwks_uri"] = json!("https://app.example/jwks");
            values["require_signed_request_object"] = json!(true);
        }
        let mut members = values.as_object().unwrap().clone();
        parts.set_members(&mut members, SetBy::Host).unwrap();
        assert_eq!(members, Map::new());
        assert!(!format!("{parts:?}").contains("owner"), "the host's data may be secret");
        let mut stored = serde_json::to_value(&parts).unwrap();
        let of_signatures =
            ["token_endpoint_auth_signing_alg", "request_object_signing_alg", "require_signed_request_object"];
        let of_signatures = if cfg!(feature = "jwt") { &of_signatures[..] } else { &[] };
        let critical = [&["token_endpoint_auth_method"], of_signatures, &["own_scope", "lifetimes"]].concat();
        assert_eq!(stored["crit"], json!(critical));
        stored.as_object_mut().unwrap().remove("crit");
        let names: Vec<_> = ClientParts::MEMBERS.iter().map(|member| member.name).collect();
        assert_eq!(stored.as_object().unwrap().len(), names.len());
        for name in &names[2..] {
            assert_eq!(stored[name], values[name], "{name}");
        }
    }

    #[test]
    fn members_of_the_host_are_not_set_by_others() {
        let sent = json!({
            "client_name": "App", "grant_types": ["client_credentials"], "scope": "b", "own_scope": "b", "first_party": true,
            "resource_server": true, "registered_by": "administrator", "host_data": 1, "default_scope": "b",
            "omits_redirect_uri": true, "client_id": "other", "client_type": "native",
        });
        for by in [SetBy::Anyone, SetBy::Statement, SetBy::Policy] {
            let mut own = parts();
            let mut left = sent.as_object().unwrap().clone();
            own.set_members(&mut left, by).unwrap();
            assert_eq!((own.client_id.as_str(), own.client_type), ("app", ClientType::Public), "{by:?}");
            assert_eq!(own.registered_by, RegisteredBy::SelfService, "{by:?}");
            assert!(own.own_scope.is_none() && own.host_data.is_null() && !own.first_party && !own.resource_server);
            assert_eq!(
                (own.default_scope.is_some(), own.omits_redirect_uri),
                (by >= SetBy::Policy, by >= SetBy::Statement)
            );
            for name in ["own_scope", "first_party", "resource_server", "registered_by", "host_data", "client_id"] {
                assert!(left.contains_key(name), "{name} is left for the caller to refuse or ignore");
            }
        }
    }

    // covers: JI-07 (RFC 9701 §6)
    #[test]
    fn encrypted_introspection_responses_are_refused() {
        let asks = |sent: Value, by| parts().set_members(&mut sent.as_object().unwrap().clone(), by);
        let (alg, enc) = ("introspection_encrypted_response_alg", "introspection_encrypted_response_enc");
        for by in [SetBy::Anyone, SetBy::Statement, SetBy::Policy, SetBy::Host] {
            for (sent, named) in [
                (json!({ alg: "RSA-OAEP" }), alg),
                (json!({ enc: "A256GCM" }), enc),
                (json!({ alg: "RSA-OAEP", enc: "A256GCM" }), alg),
                (json!({ alg: null, enc: 1 }), enc),
            ] {
                let error = asks(sent, by).unwrap_err();
                let expected = format!("{named}: encrypted responses are not supported: remove it");
                assert_eq!(error.to_string(), expected, "{by:?}");
            }
            assert_eq!(asks(json!({ alg: null, enc: null }), by), Ok(()), "{by:?}");
        }
    }

    // covers: JI-07 (RFC 9701 §6)
    #[test]
    #[cfg(feature = "jwt")]
    fn introspection_algorithm_is_read_by_its_exact_name() {
        use crate::jose::Algorithm;

        for algorithm in Algorithm::ALL {
            let mut own = parts();
            let sent = json!({ "introspection_signed_response_alg": algorithm.name() });
            own.set_members(&mut sent.as_object().unwrap().clone(), SetBy::Anyone).unwrap();
            assert_eq!(own.introspection_signed_response_alg, Some(algorithm));
            let stored = serde_json::to_string(&own).unwrap();
            let read = ClientParts::from_stored(&stored).unwrap();
            assert_eq!((read.introspection_signed_response_alg, read.unenforced_member()), (Some(algorithm), None));
        }
        for refused in [json!("none"), json!("HS256"), json!("es256"), json!(""), json!(256), json!(["ES256"])] {
            let mut own = parts();
            let sent = json!({ "introspection_signed_response_alg": refused });
            let error = own.set_members(&mut sent.as_object().unwrap().clone(), SetBy::Anyone).unwrap_err();
            assert_eq!(&*error.member, "introspection_signed_response_alg", "{refused}");
        }
    }

    #[test]
    fn update_by_others_makes_a_client_self_registered() {
        let mut own = parts();
        own.registered_by = RegisteredBy::Administrator;
        own.first_party = true;
        own.redirect_uris = vec![RedirectUri::parse("https://app.example/cb").unwrap()];
        own.grant_types.insert(GrantType::built_in(GrantType::AUTHORIZATION_CODE));
        assert!(Client::from_parts(own.clone()).is_ok());
        let sent = json!({ "grant_types": ["authorization_code"], "redirect_uris": ["https://evil.example/cb"] });
        own.set_members(&mut sent.as_object().unwrap().clone(), SetBy::Anyone).unwrap();
        assert_eq!(Client::from_parts(own).unwrap_err(), ClientError::FirstPartySelfService);
    }

    #[test]
    fn update_clears_missing_members_that_it_may_set() {
        for by in [SetBy::Anyone, SetBy::Statement, SetBy::Policy, SetBy::Host] {
            let mut own = parts();
            own.first_party = true;
            own.omits_redirect_uri = true;
            own.client_name = Some("Old".to_owned());
            own.set_members(&mut Map::new(), by).unwrap();
            let kept = (own.first_party, own.omits_redirect_uri, own.client_name.is_some());
            assert_eq!(kept, (by < SetBy::Host, by < SetBy::Statement, false), "{by:?}");
        }
    }

    #[test]
    fn stored_client_keeps_unknown_members() {
        let mut stored = serde_json::to_value(parts()).unwrap();
        stored["dpop_bound"] = json!(true);
        stored["logo"] = json!({ "url": null });
        stored["crit"] = json!(["dpop_bound", "client_type"]);
        assert!(serde_json::from_value::<ClientParts>(stored.clone()).is_err(), "a person may have mistyped a name");
        let read = ClientParts::from_stored(&stored.to_string()).unwrap();
        assert_eq!(read.unenforced_member(), Some("dpop_bound"));
        assert_eq!(read.unknown_members().collect::<BTreeSet<_>>(), BTreeSet::from(["dpop_bound", "logo"]));
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
        assert!(!format!("{read:?}").contains("url"));
        stored["client_type"] = json!("robot");
        assert!(ClientParts::from_stored(&stored.to_string()).unwrap_err().is_data());
    }

    #[test]
    fn restricting_member_is_critical_while_present() {
        let mut parts = parts();
        parts.token_endpoint_auth_method = Some(AuthenticationMethod::None);
        let stored = serde_json::to_string(&parts).unwrap();
        assert!(stored.contains(r#""crit":["token_endpoint_auth_method"]"#), "{stored}");
        for mut read in [ClientParts::from_stored(&stored).unwrap(), serde_json::from_str(&stored).unwrap()] {
            assert_eq!((read.unenforced_member(), serde_json::to_string(&read).unwrap()), (None, stored.clone()));
            read.token_endpoint_auth_method = None;
            assert_eq!(serde_json::to_value(&read).unwrap(), json!({ "client_id": "app", "client_type": "public" }));
        }
        let unknown = stored.replace("crit\":[", "crit\":[\"later\",");
        assert!(serde_json::from_str::<ClientParts>(&unknown).is_err());
    }

    #[test]
    fn client_with_a_repeated_member_is_refused() {
        let twice = r#"{"client_id":"app","client_type":"public","client_name":"A","client_name":"B"}"#;
        let refused = serde_json::from_str::<ClientParts>(twice).unwrap_err().to_string();
        assert!(refused.starts_with("duplicate member `client_name`"), "{refused}");
    }
}
