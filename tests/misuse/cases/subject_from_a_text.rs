// refused: E0308
//! A subject is a text that met the rule.

fn subject(text: String) -> grantor::Approval {
    grantor::Approval::by(text)
}

fn main() {}
