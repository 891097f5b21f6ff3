// refused: E0639
//! A policy starts from the default, so that a new switch is off.

fn policy(default: grantor::Policy) -> grantor::Policy {
    grantor::Policy { max_state: 9, ..default }
}

fn main() {}
