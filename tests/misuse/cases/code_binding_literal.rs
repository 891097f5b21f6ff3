// refused: E0639
//! Nor are those of a code.

fn binding() -> grantor::record::CodeBinding {
    grantor::record::CodeBinding { redirect_uri: "".into(), redirect_uri_was_sent: true, code_challenge: None }
}

fn main() {}
