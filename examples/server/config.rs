//! Users, scopes and clients: from files, or built in.

use std::fmt;
use std::fs;
use std::path::Path;

use grantor::ProtectedResource;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::StartError;
use crate::app::ApiScopes;
use crate::clients::{self, ClientMetadata};
use crate::flags::{Flags, FurtherApi};
use crate::registration;
use crate::session::random_text;

/// The users, scopes and clients to start with.
#[derive(Debug)]
pub(crate) struct Config {
    /// User names and passwords.
    pub(crate) users: Vec<(String, String)>,
    /// Scope tokens and descriptions, in the order in which they are shown. Users can consent to them.
    pub(crate) scopes: Vec<(String, String)>,
    /// The scope of clients that ask for none.
    pub(crate) default_scope: String,
    pub(crate) clients: Vec<ClientMetadata>,
}

impl Config {
    pub(crate) fn load(flags: &Flags) -> Result<Self, StartError> {
        let users = match &flags.users {
            Some(file) => read::<Entries>(file)?.0,
            None => vec![("alice".to_owned(), random_text().chars().take(12).collect())],
        };
        let mut scopes = match &flags.scopes {
            Some(file) => read::<Entries>(file)?.0,
            None => built_in_scopes(),
        };
        // The server always declares this scope. Users can't consent to it.
        scopes.retain(|(token, _)| token != registration::SCOPE);
        let all: Vec<&str> = scopes.iter().map(|(token, _)| token.as_str()).collect();
        let default_scope =
            default_scope(&all).ok_or("the server has no scopes: add one to the file of --scopes")?.to_owned();
        let clients = match &flags.clients {
            Some(file) => read(file)?,
            None => clients::built_in(&all, &default_scope, flags.legacy),
        };
        Ok(Self { users, scopes, default_scope, clients })
    }

    /// Returns all scopes, separated by spaces.
    pub(crate) fn all_scopes(&self) -> String {
        let all: Vec<&str> = self.scopes.iter().map(|(token, _)| token.as_str()).collect();
        all.join(" ")
    }

    /// Returns the scopes that the API requires: `user:read` and `user:write`, or the default scope if they are
    /// missing.
    pub(crate) fn api_scopes(&self) -> ApiScopes {
        let offered = |token: &str| self.scopes.iter().any(|(own, _)| own == token);
        let or_default = |token: &str| if offered(token) { token.to_owned() } else { self.default_scope.clone() };
        ApiScopes { read: or_default("user:read"), change: or_default("user:write") }
    }

    /// Declares the API of this server (RFC 9728), so that a client that knows only the API finds the server. Its tokens
    /// may also have the scopes that no further API has. The document does not list them, because most clients ask for
    /// each scope in the list.
    pub(crate) fn api(&self, issuer: &str, further: &[FurtherApi]) -> ProtectedResource {
        let ApiScopes { read, change } = self.api_scopes();
        let is_of_another = |token: &str| further.iter().any(|api| api.scope.split(' ').any(|own| own == token));
        let others = self.scopes.iter().map(|(token, _)| token.as_str());
        let others = others.filter(|token| *token != "offline_access" && !is_of_another(token));
        let unlisted: Vec<&str> = others.chain([registration::SCOPE]).collect();
        let identifier = format!("{}/api", issuer.trim_end_matches('/'));
        let api = ProtectedResource::new(identifier).scope(format!("{read} {change}"));
        let api = api.unlisted_scope(unlisted.join(" ")).metadata("resource_name", "Profiles");
        if further.is_empty() {
            return api; // every resource server may introspect its tokens
        }
        let is_of_this = |client: &&ClientMetadata| !further.iter().any(|api| api.host == client.client_id);
        self.clients.iter().filter(is_of_this).fold(api, |api, client| api.introspected_by(&client.client_id))
    }
}

impl FurtherApi {
    pub(crate) fn resource(&self) -> ProtectedResource {
        ProtectedResource::new(&self.identifier).scope(&self.scope).introspected_by(&self.host)
    }
}

fn built_in_scopes() -> Vec<(String, String)> {
    let scopes = [
        ("user:read", "Read your profile"),
        ("user:write", "Change your profile"),
        ("offline_access", "Keep access while you are away"),
    ];
    scopes.map(|(token, description)| (token.to_owned(), description.to_owned())).into()
}

/// Returns `user:read`, or else the first scope except `offline_access`, which alone permits nothing.
fn default_scope<'a>(all: &[&'a str]) -> Option<&'a str> {
    let named = |name: &str| all.iter().find(|token| **token == name);
    named("user:read").or_else(|| all.iter().find(|token| **token != "offline_access")).or(all.first()).copied()
}

/// Reads a JSON file.
fn read<T: DeserializeOwned>(file: &Path) -> Result<T, StartError> {
    let name = file.display();
    let text = fs::read_to_string(file).map_err(|error| format!("can't read {name}: {error}"))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{name}: {error}"))?)
}

/// The members of a JSON object of strings, in the order of the file. Repeated names are kept.
struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object whose values are strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order_and_their_repeats() {
        let Entries(entries) = serde_json::from_str(r#"{"b":"1","a":"2","b":"3"}"#).unwrap();
        let entries: Vec<(&str, &str)> = entries.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(entries, [("b", "1"), ("a", "2"), ("b", "3")]);
        assert!(serde_json::from_str::<Entries>(r#"{"a":1}"#).is_err());
        assert!(serde_json::from_str::<Entries>("[]").is_err());
    }

    #[test]
    fn default_scope_lets_a_client_do_something() {
        assert_eq!(default_scope(&["a", "user:read"]), Some("user:read"));
        assert_eq!(default_scope(&["offline_access", "datahub-api"]), Some("datahub-api"));
        assert_eq!(default_scope(&["offline_access"]), Some("offline_access"));
        assert_eq!(default_scope(&[]), None);
    }
}
