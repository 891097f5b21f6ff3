//! Checks the documentation of asynchronous traits. `async_trait` expands the signatures of methods, so the
//! documentation of each method repeats the signature as written. This test compares the two.

use std::fs;
use std::path::Path;

/// An asynchronous method of a public trait.
struct Method {
    name: String,
    /// The signature in the source, without body.
    written: String,
    /// The first plain text block of its documentation.
    documented: String,
}

/// Normalizes a signature and removes its line breaks. A parameter that a default body does not use begins with an
/// underscore, which the documentation may omit.
fn normal(signature: &str) -> String {
    let joined = signature.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.replace("( ", "(").replace(", )", ")").replace("(_", "(").replace(", _", ", ")
}

/// Returns the asynchronous methods of the public traits in a source.
fn methods(source: &str) -> Vec<Method> {
    let lines: Vec<&str> = source.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub trait ")) {
        let attributes = lines[..at].iter().rev().take_while(|line| !line.is_empty() && !line.starts_with("///"));
        if !attributes.into_iter().any(|line| line.contains("async_trait")) {
            continue;
        }
        assert!(line.ends_with('{'), "the first line of a trait must end with a brace: {line}");
        let body = lines[at + 1..].iter().take_while(|line| **line != "}").copied().collect::<Vec<_>>();
        for (start, line) in body.iter().enumerate().filter(|(_, line)| line.starts_with("    async fn ")) {
            let written = body[start..].join(" ");
            // No signature has a brace or a semicolon in it.
            let written = written.split(['{', ';']).next().unwrap_or_default().to_owned();
            let docs = body[..start].iter().rev().map(|line| line.trim_start());
            let docs: Vec<&str> = docs.take_while(|line| line.starts_with("///") || line.starts_with("#[")).collect();
            let docs: String = docs.iter().rev().map(|line| line.trim_start_matches("///").to_owned() + "\n").collect();
            let documented = docs.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
            let name = line.trim_start_matches("    async fn ").split(['(', '<']).next().unwrap_or_default();
            let documented = documented.unwrap_or_default().to_owned();
            found.push(Method { name: name.to_owned(), written, documented });
        }
    }
    found
}

/// Returns the names of methods whose documentation shows no signature or a different one.
fn faults(source: &str) -> Vec<String> {
    let differ = |method: &Method| normal(&method.written) != normal(&method.documented);
    methods(source).into_iter().filter(differ).map(|method| method.name).collect()
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn async_methods_of_traits_show_their_signature() {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut files);
    let count: usize = files.iter().map(|source| methods(source).len()).sum();
    assert!(count >= 30, "only {count} methods were found");
    let faults: Vec<String> = files.iter().flat_map(|source| faults(source)).collect();
    assert!(
        faults.is_empty(),
        "the documentation of these methods has no block of text with their signature: {faults:?}"
    );
}

#[test]
fn trait_signature_that_differs_from_docs_is_found() {
    let source = "/// A store.\n#[async_trait]\n#[must_use]\npub trait Store: Send {\n    \
        /// Good.\n    ///\n    /// ```text\n    /// async fn good(&self, id: &str) -> u8\n    /// ```\n    \
        async fn good(\n        &self,\n        _id: &str,\n    ) -> u8 {\n        0\n    }\n\n    \
        /// Wrong.\n    ///\n    /// ```text\n    /// async fn wrong(&self)\n    /// ```\n    async fn wrong(&self) -> u8;\n\n    \
        /// None.\n    async fn none(&self);\n\n    /// Not asynchronous.\n    fn sync(&self);\n}\n";
    assert_eq!(methods(source).len(), 3);
    assert_eq!(faults(source), ["wrong", "none"]);
    assert!(methods(&source.replace("#[async_trait]\n", "")).is_empty());
    assert!(methods(&source.replace("pub trait", "pub(crate) trait")).is_empty());
}
