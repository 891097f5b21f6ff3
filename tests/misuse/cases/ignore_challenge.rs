// refused: unused_must_use
//! Whether a verifier proves possession is not thrown away.
#![deny(unused_must_use)]

fn check(challenge: &grantor::CodeChallenge, verifier: &grantor::CodeVerifier) {
    challenge.is_met_by(verifier);
}

fn main() {}
