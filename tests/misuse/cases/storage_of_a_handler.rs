// refused: E0616
//! A handler decides; it does not write to the storage.

use grantor::grants::GrantContext;

fn storage(context: &GrantContext<'_>) {
    let _ = &context.host;
}

fn main() {}
