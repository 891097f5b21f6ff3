//! Runs the targets with all files in `seeds/`, with any compiler and without libFuzzer.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use grantor_fuzz::{TARGETS, Target};

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let names = entries.map(|entry| entry.unwrap().path());
    names.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn seeds(target: &Target) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(here("seeds").join(target.name)).unwrap();
    entries.map(|entry| entry.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn seeds_pass_and_reach_every_outcome_together() {
    let mut failing = Vec::new();
    for target in &TARGETS {
        let mut reached = BTreeSet::new();
        let seeds = seeds(target);
        assert!(seeds.len() >= 24, "{} has {} seeds", target.name, seeds.len());
        for (path, seed) in seeds {
            match catch_unwind(|| (target.check)(&seed)) {
                Ok(outcome) => drop(reached.insert(outcome)),
                Err(_) => failing.push(path),
            }
        }
        let expected: BTreeSet<&str> = target.outcomes.iter().copied().collect();
        assert_eq!(reached, expected, "{}, of which fail: {failing:?}", target.name);
    }
    assert!(failing.is_empty(), "{failing:#?}");
}

#[test]
fn each_target_has_program_seeds_and_dictionary() {
    let expected: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    for directory in ["fuzz_targets", "seeds", "dict"] {
        assert_eq!(names_in(&here(directory)), expected, "{directory}");
    }
}

#[test]
fn truncated_seed_passes_too() {
    for target in &TARGETS {
        for (path, seed) in seeds(target) {
            for length in (0..seed.len()).step_by(seed.len() / 8 + 1) {
                let outcome = catch_unwind(|| (target.check)(&seed[..length]));
                assert!(outcome.is_ok(), "the first {length} bytes of {} fail", path.display());
            }
        }
    }
}
