// refused: E0277
//! A response holds tokens and is not printed by mistake.

fn log(response: &grantor::Response) -> String {
    format!("{response}")
}

fn main() {}
