// refused: E0369
//! From a seed tokens are derived; it is not compared.

fn same(left: &grantor::secret::Seed, right: &grantor::secret::Seed) -> bool {
    left == right
}

fn main() {}
