// refused: E0639
//! What a handler adds to an answer may grow.

fn members(default: grantor::grants::ResponseMembers) -> grantor::grants::ResponseMembers {
    grantor::grants::ResponseMembers { token_type: None, ..default }
}

fn main() {}
