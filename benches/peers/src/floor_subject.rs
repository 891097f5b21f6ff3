//! The floor as a subject.

use std::hint::black_box;

use crate::floor::Floor;
use crate::subject::{
    Batch, CHALLENGE, ISSUER, Op, REDIRECT_URI, REQUIRED, Registered, SCOPE, STATE, Subject, VERIFIER, World, batch,
};

pub struct Measured<'w> {
    world: &'w World,
    floor: Floor,
}

impl<'w> Measured<'w> {
    pub fn new(world: &'w World) -> Self {
        let floor = Floor::new(ISSUER);
        for client in &world.clients {
            floor.register(&client.id, &client.secret, REDIRECT_URI, SCOPE);
        }
        Self { world, floor }
    }

    fn approve(&self, client: &str, user: &str) -> String {
        self.floor.authorize(client, REDIRECT_URI, SCOPE, STATE, CHALLENGE, user).expect("the request is valid")
    }

    fn code(&self, client: &Registered) -> String {
        let location = self.approve(&client.id, &self.world.user());
        let start = location.find("code=").expect("a code") + "code=".len();
        location[start..start + 43].to_owned()
    }

    fn redeem(&self, client: &Registered, code: &str) -> Vec<u8> {
        self.floor.redeem(&client.id, &client.secret, code, REDIRECT_URI, VERIFIER).expect("tokens")
    }

    fn token(&self, client: &Registered, member: &str) -> String {
        let answer = self.redeem(client, &self.code(client));
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        answer[member].as_str().expect("a token").to_owned()
    }
}

impl Subject for Measured<'_> {
    fn batch(&self, op: Op, n: usize) -> Box<dyn Batch + Send + '_> {
        let clients = || (0..n).map(|_| self.world.client());
        match op {
            Op::Authorize => batch(
                clients().map(|client| (&*client.id, self.world.user())).collect(),
                |_| {},
                |(client, user)| drop(black_box(self.approve(client, user))),
            ),
            Op::Code => batch(
                clients().map(|client| (client, self.code(client))).collect(),
                |_| {},
                |(client, code)| drop(black_box(self.redeem(client, code))),
            ),
            Op::Refresh => batch(
                clients().map(|client| (client, self.token(client, "refresh_token"))).collect(),
                |_| {},
                |(client, token)| {
                    black_box(self.floor.refresh(&client.id, &client.secret, token).expect("tokens"));
                },
            ),
            Op::ClientCredentials => batch(
                clients().collect(),
                |_| {},
                |client: &mut &Registered| {
                    black_box(self.floor.client_credentials(&client.id, &client.secret, SCOPE).expect("tokens"));
                },
            ),
            Op::Bearer => batch(
                clients().map(|client| self.token(client, "access_token")).collect(),
                |_| {},
                |token: &mut String| {
                    let access = black_box(self.floor.bearer(token, REQUIRED)).expect("live");
                    assert!(black_box(&access.grant.subject).is_some());
                },
            ),
        }
    }
}
