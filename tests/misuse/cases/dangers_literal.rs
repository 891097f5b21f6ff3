// refused: E0639
//! Dangers are switched on one by one.

fn dangers(default: grantor::policy::Dangerous) -> grantor::policy::Dangerous {
    grantor::policy::Dangerous { allow_plain_pkce: true, ..default }
}

fn main() {}
