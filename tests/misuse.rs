//! Programs that must not compile: those in `misuse/examples/`, checked by one run of the compiler.
//!
//! A comment `// refused: E0308` begins a case, which ends at the next one. The compiler must report exactly one error
//! in each case, with that code, and none elsewhere. `misuse/control.rs` makes the same calls without the mistakes and
//! must compile.

use std::process::Command;
use std::{env, fs};

use serde_json::Value;

#[path = "common/skip.rs"]
mod skip;

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/misuse");

/// The least number of cases. With fewer cases, some were lost.
const CASES: usize = 29;

// covers: B1, B34
#[test]
fn each_misuse_is_refused_for_its_one_reason() {
    let cargo = |command: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--quiet", "--manifest-path"]).arg(format!("{PACKAGE}/Cargo.toml"));
        cargo
    };
    if !cargo("fetch").status().unwrap().success() {
        return skip::skip("the package tests/misuse depends on a package that can't be downloaded");
    }
    let mut check = cargo("check");
    check.args(["--lib", "--examples", "--keep-going", "--message-format", "json"]);
    check.env("CARGO_TARGET_DIR", format!("{}/misuse", env!("CARGO_TARGET_TMPDIR")));
    let output = check.output().unwrap();
    let messages: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let compiled = messages
        .iter()
        .any(|message| message["reason"] == "compiler-artifact" && message["target"]["name"] == "misuse");
    assert!(compiled, "the control does not compile:\n{}", String::from_utf8_lossy(&output.stderr));

    let mut cases = 0;
    for file in fs::read_dir(format!("{PACKAGE}/examples")).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let source = fs::read_to_string(&file).unwrap();
        let starts = starts_of_cases(&source);
        let errors = messages.iter().filter(|message| message["target"]["name"] == name).filter_map(error);
        let mut found: Vec<(usize, String)> = errors.map(|(line, code)| (start_of(line, &starts), code)).collect();
        found.sort();
        assert_eq!(
            found, starts,
            "{name}.rs: left, the refusals of the compiler (line of the case, code); right, the cases"
        );
        cases += starts.len();
    }
    assert!(cases >= CASES, "only {cases} cases");
}

/// The line and the code of each case.
fn starts_of_cases(source: &str) -> Vec<(usize, String)> {
    let lines = source.lines().enumerate();
    lines.filter_map(|(at, line)| Some((at + 1, line.trim_start().strip_prefix("// refused: ")?.to_owned()))).collect()
}

/// The first line of the case that contains a line, or the line itself if none does.
fn start_of(line: usize, starts: &[(usize, String)]) -> usize {
    starts.iter().map(|(start, _)| *start).take_while(|start| *start < line).last().unwrap_or(line)
}

/// The line and the code of an error. The summary of all errors has no line, and is skipped.
fn error(message: &Value) -> Option<(usize, String)> {
    let message = &message["message"];
    let spans = message["spans"].as_array()?;
    let place = spans.iter().find(|span| span["is_primary"] == true)?;
    let line = usize::try_from(place["line_start"].as_u64()?).ok()?;
    (message["level"] == "error").then(|| (line, message["code"]["code"].as_str().unwrap_or("no code").to_owned()))
}

/// A line belongs to the last case that begins before it. Warnings are not read.
#[test]
fn errors_are_attributed_to_cases() {
    let starts = starts_of_cases("use x;\n// refused: E0308\nfn a() {}\n    // refused: E0004\n    b();\n");
    assert_eq!(starts, [(2, "E0308".to_owned()), (4, "E0004".to_owned())]);
    assert_eq!([1, 3, 5, 9].map(|line| start_of(line, &starts)), [1, 2, 4, 4]);
    let message = |level: &str| {
        serde_json::json!({ "message": { "level": level, "code": { "code": "E0308" },
            "spans": [{ "is_primary": false, "line_start": 1 }, { "is_primary": true, "line_start": 3 }] } })
    };
    assert_eq!(error(&message("error")), Some((3, "E0308".to_owned())));
    assert_eq!(error(&message("warning")), None);
}
