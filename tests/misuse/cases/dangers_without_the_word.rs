// refused: E0616
//! What weakens a server is found by searching for dangerous().

fn weaken(policy: &mut grantor::Policy) {
    policy.dangerous.allow_password_grant = true;
}

fn main() {}
