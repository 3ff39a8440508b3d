//! Checks that the tests call every public function of the store.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Functions that no test of this binary calls, each with the reason.
const TESTED_ELSEWHERE: [(&str, &str); 9] = [
    ("missing_rows::count_without_row", "an end-to-end test reads the counter of each service"),
    ("relay::publish_pending", "the consumer runner calls it"),
    ("relay::run", "the end-to-end tests run it, as the services do"),
    (".scaled", "a unit test beside it"),
    (".places", "a unit test beside it"),
    (".tick_header", "a unit test beside it"),
    (".candle_header", "a unit test beside it"),
    (".write_tick", "a unit test beside it"),
    (".write_candle", "a unit test beside it"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            sources(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            found.push(entry.path());
        }
    }
}

fn read(folder: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut files);
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).expect("a source"))).collect()
}

/// Returns the public functions of a file: a free function as `module::function`, a method as `.method`. A module whose folder
/// passes its functions on has the name of the folder.
fn public_functions(file: &Path, text: &str) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let module = match stem(file).as_str() {
        "mod" => file.parent().map(stem).unwrap_or_default(),
        name => {
            let folder = file.parent().unwrap_or(file);
            let passes_on = fs::read_to_string(folder.join("mod.rs"))
                .is_ok_and(|text| text.contains(&format!("\npub use {name}::")));
            if passes_on { stem(folder) } else { name.to_owned() }
        }
    };
    let function = |line: &str| {
        let declared = line.trim_start().strip_prefix("pub ")?;
        let declared = declared.strip_prefix("async ").unwrap_or(declared).strip_prefix("fn ")?;
        let name = declared.split(['(', '<']).next()?;
        Some(if line.starts_with("pub") { format!("{module}::{name}") } else { format!(".{name}") })
    };
    text.lines().filter_map(function).collect()
}

#[test]
fn every_public_function_is_called_by_a_test() {
    let tests: String = read("tests/store").into_iter().map(|(_, text)| text).collect();
    let is_called = |name: &str| {
        let method = name.strip_prefix('.').map(|method| format!("::{method}("));
        tests.contains(&format!("{name}(")) || method.is_some_and(|associated| tests.contains(&associated))
    };
    let functions: Vec<String> = read("src").iter().flat_map(|(file, text)| public_functions(file, text)).collect();
    let missing: Vec<&String> = functions
        .iter()
        .filter(|name| !is_called(name) && !TESTED_ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == name))
        .collect();
    assert!(functions.len() > 50, "the sources were read");
    assert!(missing.is_empty(), "no test calls {missing:?}");
}
