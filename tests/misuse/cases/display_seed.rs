// refused: E0277
//! A seed is not printed by mistake.

fn log(seed: &grantor::secret::Seed) -> String {
    format!("{seed}")
}

fn main() {}
