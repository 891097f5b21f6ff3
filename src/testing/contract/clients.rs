//! Clause 9: what a storage promises that keeps clients, too.

use time::OffsetDateTime;

use super::clause::Clause::Clients;
use super::node::{Failure, Outcome, run};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::client::{Client, ClientBuilder, ClientCredential, ClientError};
use crate::record::{ClientId, Grant};
use crate::secret::ClientSecret;
use crate::storage::{ClientRegistry, RegistryError};

pub(super) const CASES: &[Group] = &[Group {
    clause: Clients,
    needs: Needs::Registry,
    cases: &[
        ("a client comes back with everything that was registered, on every node", comes_back),
        ("a client is registered once, and updated only if it is there", registered_once),
        ("of many registrations of one identifier at once one succeeds", one_registration),
        (
            "identifiers are compared byte by byte, and clients listed in the order of the bytes, page by page",
            listed_in_order,
        ),
        ("a credential is rotated for a confidential client only, and the others end as they should", rotated),
        ("of many rotations at once none is lost", rotated_at_once),
        ("removing a client makes it unknown and revokes all its grants, and nobody else's", removed),
    ],
}];

impl Trial<'_> {
    fn registry(&self, number: usize) -> &dyn ClientRegistry {
        self.host.registries[number % self.host.registries.len()]
    }

    fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(self.node(0).block_on, future)
    }

    fn register(&self, client: Client) -> Outcome {
        self.run(self.registry(0).register(client)).map_err(|error| Failure::failed("register", &error))
    }

    /// The client as JSON, as some node has it.
    fn known(&self, node: usize, id: &str) -> Outcome<Option<Client>> {
        let found = self.run(self.registry(node).client(id));
        Ok(found.map_err(|error| Failure::failed("client", &error))?.map(|client| (*client).clone()))
    }

    fn known_everywhere(&self, what: &str, expected: &Client) -> Outcome {
        for node in 0..self.host.registries.len() {
            match self.known(node, expected.id().as_str())? {
                Some(found) => self.expect_eq_records(what, &expected.clone().into_parts(), &found.into_parts()),
                None => self.report(format!("{what} is found on every node"), "one does not find it"),
            }
        }
        Ok(())
    }

    fn public(&self, name: &str) -> Client {
        public(self.client(name).as_str())
    }
}

fn public(id: &str) -> Client {
    let client = Client::public(id).authorization_code(["https://app.example/cb"]).build();
    client.expect("a good client")
}

fn comes_back(t: &Trial<'_>) -> Outcome {
    let secret = ClientCredential::secret(&ClientSecret::new("s3cr3t"));
    let full = Client::confidential(t.client("web").as_str(), secret.clone().expiring(t.at(DAY)))
        .credential(ClientCredential::opaque())
        .name("O'Brien \u{1f980} \"\\")
        .website("https://app.example/?a=b")
        .authorization_code(["https://app.example/cb?x=%2F", "https://app.example/other"])
        .client_credentials()
        .refresh_token()
        .scope("user:read user:write")
        .build();
    for client in [t.public("app"), full.expect("a good client")] {
        for node in 0..t.host.registries.len() {
            let is_known = t.known(node, client.id().as_str())?.is_some();
            t.expect(!is_known, "a client that was never registered is not known", "a client is known");
        }
        t.register(client.clone())?;
        t.known_everywhere("a client that was registered", &client)?;
        let updated = Client::confidential(client.id().as_str(), secret.clone()).client_credentials().build();
        let updated = updated.expect("a good client");
        t.run(t.registry(1).update(updated.clone())).map_err(|error| Failure::failed("update", &error))?;
        t.known_everywhere("a client that was updated", &updated)?;
    }
    Ok(())
}

fn registered_once(t: &Trial<'_>) -> Outcome {
    let first = t.public("app");
    t.register(first.clone())?;
    let impostor = Client::public(first.id().as_str()).authorization_code(["https://evil.example/cb"]).build();
    let again = t.run(t.registry(1).register(impostor.expect("a good client")));
    t.expect(
        matches!(again, Err(RegistryError::Taken)),
        "a second registration is Taken",
        format_args!("it is {again:?}"),
    );
    t.known_everywhere("the first registration", &first)?;
    let unknown = t.run(t.registry(1).update(t.public("nobody")));
    t.expect(
        matches!(unknown, Err(RegistryError::Unknown)),
        "an update of nobody is Unknown",
        format_args!("it is {unknown:?}"),
    );
    let is_known = t.known(0, t.client("nobody").as_str())?.is_some();
    t.expect(!is_known, "a client is not registered by an update", "it is known after that");
    Ok(())
}

fn one_registration(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let id = t.client(&format!("app-{round}"));
        let client = |runner: usize| {
            let uri = format!("https://app.example/{runner}");
            Client::public(id.as_str()).authorization_code([uri.as_str()]).build().expect("a good client")
        };
        let results = t.race(round, RUNNERS, |runner, node| node.run(t.registry(runner).register(client(runner))));
        let won: Vec<_> = (0..).zip(&results).filter(|(_, result)| result.is_ok()).map(|(runner, _)| runner).collect();
        t.expect_eq("how many registrations succeed", &1, &won.len());
        let taken = results.iter().filter(|result| matches!(result, Err(RegistryError::Taken))).count();
        t.expect_eq("how many are told that it is Taken", &(RUNNERS - 1), &taken);
        if let [winner] = won[..] {
            t.known_everywhere("the client that was registered", &client(winner))?;
        }
    }
    Ok(())
}

fn listed_in_order(t: &Trial<'_>) -> Outcome {
    // The first characters keep them together and apart from those of other cases.
    let mut ids: Vec<_> = ["a", "B", "b", "_", "%", "a ", "a'b", "aa", "\\", "~", "10", "9", " "]
        .map(|name| ClientId::new(format!("!{}!{name}", t.number)).expect("a good client identifier"))
        .into();
    for id in &ids {
        t.register(public(id.as_str()))?;
    }
    ids.sort_unstable();
    for id in &ids {
        let found = t.known(1, id.as_str())?.map(|client| client.id().clone());
        t.expect_eq("the client that is found by an identifier", &Some(id.clone()), &found);
    }
    let longest = "x".repeat(255);
    let nearly =
        [format!("!{}!A", t.number), format!("!{}!", t.number), format!("!{}!a%", t.number), longest, "\u{7e}".into()];
    for id in &nearly {
        let is_known = t.known(1, id)?.is_some();
        t.expect(
            !is_known,
            format_args!("client {id:?} is not known: it was not registered"),
            "it is taken for another",
        );
    }
    for limit in [1, 2, 5, 100] {
        let mut listed = Vec::new();
        let mut after = ClientId::new(format!("!{}!", t.number)).expect("a good client identifier");
        for _ in 0..100 {
            let part = t.run(t.registry(1).clients(Some(&after), limit));
            let part = part.map_err(|error| Failure::failed("clients", &error))?;
            t.expect(
                part.len() <= limit,
                format_args!("a page has {limit} clients at most"),
                format_args!("{}", part.len()),
            );
            let Some(last) = part.last() else { break };
            after = last.id().clone();
            listed.extend(part.iter().map(|client| client.id().clone()));
        }
        // Clients of other cases come behind.
        listed.truncate(ids.len());
        t.expect_eq_lists(&format!("the clients in pages of {limit}"), &ids, &listed);
    }
    let none = t.run(t.registry(1).clients(None, 0)).map_err(|error| Failure::failed("clients", &error))?;
    t.expect_eq("clients on a page of none", &0, &none.len());
    Ok(())
}

fn ends(client: &Client) -> Vec<Option<OffsetDateTime>> {
    client.credentials().iter().map(ClientCredential::expires_at).collect()
}

fn rotated(t: &Trial<'_>) -> Outcome {
    let secret = ClientSecret::new("s3cr3t");
    let new = || ClientCredential::secret(&secret);
    t.register(t.public("app"))?;
    let result = t.run(t.registry(1).rotate_credential(&t.client("app"), new(), t.at(HOUR)));
    let is_refused = matches!(result, Err(RegistryError::Invalid(ClientError::PublicWithCredentials)));
    t.expect(is_refused, "a public client gets no credential (Invalid)", format_args!("{result:?}"));
    t.known_everywhere("the public client", &t.public("app"))?;
    let result = t.run(t.registry(1).rotate_credential(&t.client("nobody"), new(), t.at(HOUR)));
    t.expect(
        matches!(result, Err(RegistryError::Unknown)),
        "a client that is not there is Unknown",
        format_args!("{result:?}"),
    );
    // Credentials that end sooner than the others are to end keep their end.
    let [first, rest @ ..] =
        [new(), new().expiring(t.at(SECOND)), new().expiring(t.at(DAY)), ClientCredential::opaque()];
    let client = Client::confidential(t.client("web").as_str(), first).client_credentials();
    t.register(rest.into_iter().fold(client, ClientBuilder::credential).build().expect("a good client"))?;
    t.run(t.registry(1).rotate_credential(&t.client("web"), new().expiring(t.at(9 * DAY)), t.at(HOUR)))
        .map_err(|error| Failure::failed("rotate_credential", &error))?;
    let expected = [HOUR, SECOND, HOUR, HOUR, 9 * DAY].map(|end| Some(t.at(end)));
    let found = t.known(2, t.client("web").as_str())?;
    t.expect_eq_lists("when the credentials end", &expected, &found.as_ref().map(ends).unwrap_or_default());
    Ok(())
}

fn rotated_at_once(t: &Trial<'_>) -> Outcome {
    let new = || ClientCredential::secret(&ClientSecret::new("s3cr3t"));
    for round in t.rounds(5) {
        let id = t.client(&format!("web-{round}"));
        let client = Client::confidential(id.as_str(), new().expiring(t.at(SECOND))).client_credentials().build();
        t.register(client.expect("a good client"))?;
        let results = t.race(round, RUNNERS, |runner, node| {
            let end = t.at(HOUR + SECOND * u32::try_from(runner).unwrap_or_default());
            node.run(t.registry(runner).rotate_credential(&id, new().expiring(end), t.at(DAY)))
        });
        for result in results {
            t.note(result.map_err(|error| Failure::failed("rotate_credential, many times at once,", &error)));
        }
        let mut found = t.known(1, id.as_str())?.as_ref().map(ends).unwrap_or_default();
        found.sort_unstable();
        let expected = (0..RUNNERS).map(|runner| HOUR + SECOND * u32::try_from(runner).unwrap_or_default());
        let expected: Vec<_> = std::iter::once(SECOND).chain(expected).map(|end| Some(t.at(end))).collect();
        t.expect_eq_lists("when the credentials end", &expected, &found);
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
        t.run(t.registry(1).remove(&t.client("app"), t.at(at))).map_err(|error| Failure::failed("remove", &error))?;
        for node in 0..t.host.registries.len() {
            let is_known = |name: &str| -> Outcome<bool> { Ok(t.known(node, t.client(name).as_str())?.is_some()) };
            t.expect(!is_known("app")?, "a client that was removed is not known", "it is known");
            t.expect(is_known("other")?, "a client that was not removed is known", "it is gone");
        }
        // To remove it again is no error, and there is nothing left to do.
        if at == HOUR {
            break;
        }
        for (number, expected) in [(1, Some(t.at(SECOND))), (2, None), (3, Some(t.at(SECOND)))] {
            let revoked = t.node(1).row(t.hash(number))?.1.revoked_at;
            t.expect_eq(&format!("when grant {number} was revoked"), &expected, &revoked);
        }
    }
    Ok(())
}
