//! The compiler refuses every program in `cases/`, and each for the one reason that its first line names.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// What the compiler said is compared word for word, and then looked at: a program with a second mistake, or with another one
/// than was meant, would prove nothing.
#[test]
fn every_misuse_is_refused_for_the_one_reason_that_it_names() {
    let folder = env::var("MISUSE_CASES").unwrap_or_else(|_| "cases".to_owned());
    let programs = trybuild::TestCases::new();
    programs.compile_fail(format!("{folder}/*.rs"));
    // This is where they are compiled.
    drop(programs);

    let cases = cases(Path::new(&folder));
    assert!(cases.len() > 90, "only {} programs", cases.len());
    for case in cases {
        let (program, said) = (read(&case), read(&case.with_extension("stderr")));
        let reason = program.lines().next().and_then(|line| line.strip_prefix("// refused: ")).unwrap_or_default();
        let errors: Vec<_> = said.lines().filter(|line| line.starts_with("error")).collect();
        let expected = match reason {
            "unused_must_use" => "error: unused ".to_owned(),
            code => format!("error[{code}]: "),
        };
        let as_meant = errors.len() == 1 && errors[0].starts_with(&expected);
        assert!(as_meant, "{} is not refused for {reason:?} alone:\n{said}", case.display());
        assert!(!said.lines().any(|line| line.starts_with("warning")), "{} is warned of, too:\n{said}", case.display());
    }
}

fn cases(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
