//! Clauses 8 and 9: members that a newer version has added to records.

use serde_json::{Value, json};

use super::node::{Failure, Outcome, run};
use super::records::HOUR;
use super::trial::{Named, Trial};
use crate::client::{Client, ClientCredential, ClientParts};
use crate::record::Grant;
use crate::storage::{GrantSelector, RegistryError};

pub(super) const OPAQUE: &[Named] = &[("unknown members of details survive every update of the row", details)];

pub(super) const CLIENTS: &[Named] =
    &[("a client with unknown members is returned whole and can't be changed", client_is_not_changed)];

fn details(t: &Trial<'_>) -> Outcome {
    let added = json!({ "later": { "b": [1.0, null], "a": "\u{e9}" }, "jkt": "x", "crit": ["jkt"] });
    let read = |added: &Value| serde_json::from_value(added.clone()).map_err(|error| Failure::failed("serde", &error));
    let of = Grant { details: serde_json::from_value(added.clone()).unwrap_or_default(), ..t.grant(1) };
    let mut old = t.refresh(1, &of);
    old.details = read(&added)?;
    let mut successors = t.successors(2, &of, &old);
    successors[0].details = read(&added)?;
    t.node(0).open(&of, &[old.clone()])?;
    t.node(1).must_redeem(&t.spend(&old, 1), &successors)?;
    t.node(0).must_redeem(&t.spend(&successors[1], 2), &[])?;
    t.node(1).revoke_access_token(t.hash(2), t.at(HOUR))?;
    t.node(0).revoke(&GrantSelector::Id(of.id), t.at(HOUR))?;
    for number in [1, 2] {
        let (token, grant) = t.node(2).row(t.hash(number))?;
        t.expect_eq("the details of a token", &added, &json!(token.details));
        t.expect_eq("the details of its grant", &added, &json!(grant.details));
    }
    Ok(())
}

fn client_is_not_changed(t: &Trial<'_>) -> Outcome {
    for (name, added) in [
        ("newer", json!({ "later": { "a": [1.0, null] }, "crit": ["later"] })),
        // `crit` may name a member that is missing or that this version does not know.
        ("newer-without", json!({ "crit": ["later"] })),
        ("newer-crit", json!({ "crit": { "later": 1 } })),
    ] {
        client_with(t, name, &added)?;
    }
    Ok(())
}

fn client_with(t: &Trial<'_>, name: &str, added: &Value) -> Outcome {
    let (registry, block_on) = (t.setup.registries[0], t.node(0).block_on);
    let id = t.client(name);
    let client = Client::confidential(id.as_str(), ClientCredential::opaque()).client_credentials().build();
    let mut stored = json!(client.expect("a good client"));
    stored.as_object_mut().expect("an object").extend(added.as_object().expect("an object").clone());
    let parts =
        ClientParts::from_stored(&stored.to_string()).map_err(|error| Failure::failed("from_stored", &error))?;
    let newer = Client::from_parts(parts).map_err(|error| Failure::failed("from_parts", &error))?;
    run(block_on, registry.register(newer.clone())).map_err(|error| Failure::failed("register", &error))?;
    let updated = run(block_on, registry.update(newer.clone(), newer.version()));
    let rotated = run(block_on, registry.rotate_credential(&id, ClientCredential::opaque(), t.at(HOUR)));
    for refusal in [updated, rotated] {
        let is_refused = matches!(refusal, Err(RegistryError::UnknownMembers));
        t.expect(is_refused, "a change is refused with UnknownMembers", format_args!("it is {refusal:?}"));
    }
    let found =
        run(block_on, registry.find_client(id.as_str())).map_err(|error| Failure::failed("find_client", &error))?;
    t.expect_eq("the stored client", &stored, &found.map_or(Value::Null, |client| json!(*client)));
    Ok(())
}
