// refused: E0277
//! A scope is a text that met the grammar.

fn scope(text: &str) -> grantor::Scope {
    text.into()
}

fn main() {}
