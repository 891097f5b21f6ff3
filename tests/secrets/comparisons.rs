//! Searches the sources for comparisons whose timing could reveal a secret.

/// The types have no `==` (`tests/static_guarantees.rs`). This finds code that exposes a secret and compares its bytes.
// covers: CA-29 (RFC 6749 §10.10), B35
#[test]
fn exposed_secret_is_never_compared_by_operator() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut comparisons = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
                let takes_out =
                    ["expose()", "as_bytes()", ".finish()", "self.value"].iter().any(|exit| line.contains(exit));
                let compares = line.contains(" == ") || line.contains(" != ");
                assert!(!(takes_out && compares), "{}: {line}", path.display());
            }
            comparisons += code.matches(".ct_eq(").count() + code.matches(".verify_slice(").count();
        }
    }
    // Client secrets, two methods of PKCE, form tokens, marks of redeemed codes, and the passwords of the test users.
    assert_eq!(comparisons, 6);
}
