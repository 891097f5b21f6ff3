//! Clause 9: the rules for a storage that is a [`ClientRegistry`].

use std::sync::Arc;

use time::OffsetDateTime;

use super::node::Outcome;
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Named, RUNNERS, Trial};
use crate::client::{Client, ClientBuilder, ClientCredential, ClientError};
use crate::record::{ClientId, Grant};
use crate::secret::ClientSecret;
use crate::storage::{ClientRegistry, RegistryError};

pub(super) const CASES: &[Named] = &[
    ("a client is returned with all its members, on every node", comes_back),
    ("a client is registered once, and updated only if it exists", registered_once),
    ("many registrations race for one identifier: one succeeds", one_registration),
    ("a client is updated only from its stored version", updated_from_stored_version),
    ("many updates race from one version: one succeeds", one_update),
    ("client identifiers are compared and listed byte by byte, page by page", listed_in_order),
    ("a credential is rotated for a confidential client only, and the old ones get their end", rotated),
    ("no rotation of many in parallel is lost", rotated_at_once),
    ("removing a client makes it unknown and revokes all its grants and no others", removed),
];

impl Trial<'_> {
    fn registry(&self, number: usize) -> &dyn ClientRegistry {
        self.setup.registries[number % self.setup.registries.len()]
    }

    fn register(&self, client: Client) -> Outcome {
        self.node(0).done("register", self.registry(0).register(client))
    }

    /// Returns the client as a node finds it.
    fn known(&self, node: usize, id: &str) -> Outcome<Option<Client>> {
        let found = self.node(0).done("find_client", self.registry(node).find_client(id))?;
        Ok(found.map(|client| (*client).clone()))
    }

    fn known_everywhere(&self, what: &str, expected: &Client) -> Outcome {
        for node in 0..self.setup.registries.len() {
            match self.known(node, expected.id().as_str())? {
                Some(found) => self.expect_eq_records(what, &expected.clone().into_parts(), &found.into_parts()),
                None => self.report(format!("{what} is found on every node"), "one node does not find it"),
            }
        }
        Ok(())
    }

    fn known_nowhere(&self, what: &str, id: &str) -> Outcome {
        for node in 0..self.setup.registries.len() {
            let is_known = self.known(node, id)?.is_some();
            self.expect(!is_known, format_args!("{what} is not known"), format_args!("{id:?} is"));
        }
        Ok(())
    }

    /// Checks that a call is refused with the expected error.
    fn expect_refused(
        &self,
        expected: &str,
        is_expected: impl Fn(&RegistryError) -> bool,
        call: impl Future<Output = Result<(), RegistryError>>,
    ) {
        let answer = self.node(0).run(call);
        self.expect(answer.as_ref().is_err_and(is_expected), expected, format_args!("it is {answer:?}"));
    }

    fn public(&self, name: &str) -> Client {
        public(self.client(name).as_str())
    }
}

const fn is_taken(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Taken)
}

const fn is_conflict(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Conflict)
}

const fn is_unknown(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unknown)
}

fn built(client: ClientBuilder) -> Client {
    client.build().expect("a good client")
}

fn public(id: &str) -> Client {
    built(Client::public(id).authorization_code(["https://app.example/cb"]))
}

fn comes_back(t: &Trial<'_>) -> Outcome {
    let secret = ClientCredential::secret(&ClientSecret::new("s3cr3t"));
    let full = Client::confidential(t.client("web").as_str(), secret.clone().expiring(t.at(DAY)))
        .credential(ClientCredential::opaque())
        .name("O'Brien \u{1f980} \"\\")
        .client_uri("https://app.example/?a=b")
        .logo_uri("https://app.example/logo.png")
        .policy_uri("https://app.example/privacy")
        .tos_uri("https://app.example/terms")
        .contacts(["Ada <ada@app.example>", "'\u{e4}'@app.example"])
        .host_data(serde_json::json!({ "owner": "a\0\"\u{1f980}", "numbers": [0.1, -1, u64::MAX], "none": null }))
        .authorization_code(["https://app.example/cb?x=%2F", "https://app.example/other"])
        .client_credentials()
        .refresh_token()
        .scope("user:read user:write");
    for client in [t.public("app"), built(full)] {
        t.known_nowhere("a client that was never registered", client.id().as_str())?;
        t.register(client.clone())?;
        t.known_everywhere("a registered client", &client)?;
        let updated = built(Client::confidential(client.id().as_str(), secret.clone()).client_credentials());
        t.node(0).done("update", t.registry(1).update(updated.clone(), client.version()))?;
        t.known_everywhere("an updated client", &updated)?;
    }
    Ok(())
}

fn registered_once(t: &Trial<'_>) -> Outcome {
    let first = t.public("app");
    t.register(first.clone())?;
    let impostor = built(Client::public(first.id().as_str()).authorization_code(["https://evil.example/cb"]));
    t.expect_refused("a second registration is Taken", is_taken, t.registry(1).register(impostor));
    t.known_everywhere("the first registration", &first)?;
    let update = t.registry(1).update(t.public("nobody"), first.version());
    t.expect_refused("an update of a client that does not exist is Unknown", is_unknown, update);
    t.known_nowhere("a client that was never registered, only updated", t.client("nobody").as_str())
}

fn one_registration(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let id = t.client(&format!("app-{round}"));
        let client = |runner: usize| {
            let uri = format!("https://app.example/{runner}");
            built(Client::public(id.as_str()).authorization_code([uri.as_str()]))
        };
        let results =
            t.race(round, RUNNERS, |runner, node| Ok(node.run(t.registry(runner).register(client(runner)))))?;
        let won: Vec<_> = (0..).zip(&results).filter(|(_, result)| result.is_ok()).map(|(runner, _)| runner).collect();
        t.expect_eq("the number of successful registrations", &1, &won.len());
        let taken = results.iter().filter(|result| result.as_ref().is_err_and(is_taken)).count();
        t.expect_eq("the number of registrations that get Taken", &(RUNNERS - 1), &taken);
        if let [winner] = won[..] {
            t.known_everywhere("the registered client", &client(winner))?;
        }
    }
    Ok(())
}

fn updated_from_stored_version(t: &Trial<'_>) -> Outcome {
    let client = |uri: &str| built(Client::public(t.client("app").as_str()).authorization_code([uri]));
    let [first, second, third] =
        ["https://app.example/1", "https://app.example/2", "https://app.example/3"].map(client);
    t.register(first.clone())?;
    t.node(0).done("update", t.registry(1).update(second.clone(), first.version()))?;
    let stale = t.registry(2).update(third.clone(), first.version());
    t.expect_refused("an update from an older version is a Conflict", is_conflict, stale);
    t.known_everywhere("a client whose update was refused", &second)?;
    t.node(0).done("update", t.registry(2).update(third.clone(), second.version()))?;
    t.known_everywhere("an updated client", &third)?;
    let other = t.client("other");
    let secret = || ClientCredential::secret(&ClientSecret::new("s3cr3t"));
    let confidential = built(Client::confidential(other.as_str(), secret()).client_credentials());
    t.register(confidential.clone())?;
    t.node(0).done("rotate_credential", t.registry(1).rotate_credential(&other, secret(), t.at(HOUR)))?;
    let stale = t.registry(0).update(confidential.clone(), confidential.version());
    t.expect_refused("an update from before a rotation is a Conflict", is_conflict, stale);
    Ok(())
}

fn one_update(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let id = t.client(&format!("app-{round}"));
        let client = |number: usize| {
            let uri = format!("https://app.example/{number}");
            built(Client::public(id.as_str()).authorization_code([uri.as_str()]))
        };
        let before = client(RUNNERS);
        t.register(before.clone())?;
        let results = t.race(round, RUNNERS, |runner, node| {
            Ok(node.run(t.registry(runner).update(client(runner), before.version())))
        })?;
        let won: Vec<_> = (0..).zip(&results).filter(|(_, result)| result.is_ok()).map(|(runner, _)| runner).collect();
        t.expect_eq("the number of successful updates", &1, &won.len());
        let refused = results.iter().filter(|result| result.as_ref().is_err_and(is_conflict)).count();
        t.expect_eq("the number of updates that get Conflict", &(RUNNERS - 1), &refused);
        if let [winner] = won[..] {
            t.known_everywhere("the updated client", &client(winner))?;
        }
    }
    Ok(())
}

fn listed_in_order(t: &Trial<'_>) -> Outcome {
    // The common prefix keeps them together in the list, and apart from the clients of other cases.
    let id = |name: &str| ClientId::new(format!("!{}!{name}", t.number)).expect("a good client identifier");
    let mut ids = ["a", "B", "b", "_", "%", "a ", "a'b", "aa", "\\", "~", "10", "9", " "].map(id);
    for id in &ids {
        t.register(public(id.as_str()))?;
    }
    ids.sort_unstable();
    for id in &ids {
        let found = t.known(1, id.as_str())?.map(|client| client.id().clone());
        t.expect_eq("the client with this identifier", &Some(id.clone()), &found);
    }
    let [nearly, begin, pattern] = ["A", "", "a%"].map(id);
    for id in [nearly.as_str(), begin.as_str(), pattern.as_str(), &"x".repeat(255), "~"] {
        t.known_nowhere("a client with an identifier that is similar to a registered one", id)?;
    }
    for limit in [1, 2, 5, 100] {
        let listed = t.paged(limit, |last: Option<&Arc<Client>>| {
            let after = last.map_or(&begin, |last| last.id());
            t.node(0).done("list_clients", t.registry(1).list_clients(Some(after), limit))
        })?;
        // Clients of other cases follow.
        let listed: Vec<_> = listed.iter().take(ids.len()).map(|client| client.id().clone()).collect();
        t.expect_eq_lists(&format!("the clients in pages of {limit}"), &ids, &listed);
    }
    let none = t.node(0).done("list_clients", t.registry(1).list_clients(None, 0))?;
    t.expect_eq("the number of clients on a page with the limit 0", &0, &none.len());
    Ok(())
}

fn ends(client: &Client) -> Vec<Option<OffsetDateTime>> {
    client.credentials().iter().map(ClientCredential::expires_at).collect()
}

fn rotated(t: &Trial<'_>) -> Outcome {
    let secret = ClientSecret::new("s3cr3t");
    let new = || ClientCredential::secret(&secret);
    let (app, nobody, web) = (t.client("app"), t.client("nobody"), t.client("web"));
    t.register(t.public("app"))?;
    t.expect_refused(
        "a public client gets no credential (Invalid)",
        |error| matches!(error, RegistryError::Invalid(ClientError::PublicWithCredentials)),
        t.registry(1).rotate_credential(&app, new(), t.at(HOUR)),
    );
    t.known_everywhere("the public client", &t.public("app"))?;
    let of_nobody = t.registry(1).rotate_credential(&nobody, new(), t.at(HOUR));
    t.expect_refused("a client that does not exist is Unknown", is_unknown, of_nobody);
    // Credentials that already end earlier keep their end.
    let [first, rest @ ..] =
        [new(), new().expiring(t.at(SECOND)), new().expiring(t.at(DAY)), ClientCredential::opaque()];
    let client = Client::confidential(web.as_str(), first).client_credentials();
    t.register(built(rest.into_iter().fold(client, ClientBuilder::credential)))?;
    let rotation = t.registry(1).rotate_credential(&web, new().expiring(t.at(9 * DAY)), t.at(HOUR));
    t.node(0).done("rotate_credential", rotation)?;
    let expected = [HOUR, SECOND, HOUR, HOUR, 9 * DAY].map(|end| Some(t.at(end)));
    let found = t.known(2, web.as_str())?;
    t.expect_eq_lists("the ends of the credentials", &expected, &found.as_ref().map(ends).unwrap_or_default());
    Ok(())
}

fn rotated_at_once(t: &Trial<'_>) -> Outcome {
    let new = || ClientCredential::secret(&ClientSecret::new("s3cr3t"));
    for round in t.rounds(5) {
        let id = t.client(&format!("web-{round}"));
        t.register(built(Client::confidential(id.as_str(), new().expiring(t.at(SECOND))).client_credentials()))?;
        let end = |runner: usize| t.at(HOUR + SECOND * u32::try_from(runner).unwrap_or_default());
        t.race(round, RUNNERS, |runner, node| {
            let rotation = t.registry(runner).rotate_credential(&id, new().expiring(end(runner)), t.at(DAY));
            node.done("rotate_credential in a race", rotation)
        })?;
        let mut found = t.known(1, id.as_str())?.as_ref().map(ends).unwrap_or_default();
        found.sort_unstable();
        let expected: Vec<_> = std::iter::once(t.at(SECOND)).chain((0..RUNNERS).map(end)).map(Some).collect();
        t.expect_eq_lists("the ends of the credentials", &expected, &found);
    }
    Ok(())
}

fn removed(t: &Trial<'_>) -> Outcome {
    t.register(t.public("app"))?;
    t.register(t.public("other"))?;
    for (number, client, subject) in [(1, "app", Some("alice")), (2, "other", Some("alice")), (3, "app", None)] {
        let subject = subject.map(|name| t.subject(name));
        let of = Grant { client_id: t.client(client), subject, ..t.grant(number) };
        t.node(0).open(&of, &[t.access(number, &of)])?;
    }
    for at in [SECOND, HOUR] {
        t.node(0).done("remove", t.registry(1).remove(&t.client("app"), t.at(at)))?;
        t.known_nowhere("a removed client", t.client("app").as_str())?;
        t.known_everywhere("a client that was not removed", &t.public("other"))?;
        // A second removal is no error and does nothing.
        if at == HOUR {
            break;
        }
        for (number, expected) in [(1, Some(t.at(SECOND))), (2, None), (3, Some(t.at(SECOND)))] {
            let revoked = t.node(1).row(t.hash(number))?.1.revoked_at;
            t.expect_eq(&format!("the revoked_at of grant {number}"), &expected, &revoked);
        }
    }
    Ok(())
}
