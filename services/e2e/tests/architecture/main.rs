//! Checks the structure of the sources: layers, the one crate per outside system, circles of imports, folders, names and
//! doc comments.
//!
//! Nothing is compiled or started here. Each check has a module with the rule and small inputs that break it; this file
//! applies them to the clone.

mod circles;
mod crates;
mod documentation;
mod folders;
mod layers;
mod lexer;
mod modules;
mod public_types;
mod vocabulary;

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{crates::Crate, modules::Modules};

/// Fails with all that is wrong, one line each.
fn assert_none(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}: {}\n{}", faults.len(), faults.join("\n"));
}

/// What each compiled target of each crate is made of.
fn targets() -> Vec<(PathBuf, Modules)> {
    let text = |file: &Path| fs::read_to_string(crates::root().join(file)).ok();
    let roots = crates::members().iter().flat_map(Crate::roots).collect::<Vec<_>>();
    roots.into_iter().map(|root| (root.clone(), Modules::read(&root, &text))).collect()
}

fn rust_files() -> Vec<PathBuf> {
    crates::files().into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")).collect()
}

#[test]
fn imports_between_crates_run_one_way_and_each_outside_system_has_one_door() {
    let members = crates::members();
    assert!(members.len() >= 13, "{members:?}");
    assert_none("dependencies that may not be", &layers::faults(&members));
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let mut faults = Vec::new();
    for (root, modules) in targets() {
        assert!(!modules.0.is_empty(), "{} has no modules", root.display());
        for circle in circles::circles(&modules.graph()) {
            faults.push(circle.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" → "));
        }
    }
    assert_none("circles of imports", &faults);
}

#[test]
fn no_folder_holds_more_than_a_dozen_source_files() {
    let is_script = |file: &Path| fs::read(crates::root().join(file)).is_ok_and(|bytes| bytes.starts_with(b"#!"));
    assert_none("crowded folders", &folders::crowded(&crates::files(), is_script));
}

#[test]
fn no_private_word_is_a_name() {
    let mut faults = Vec::new();
    for file in crates::files().into_iter().filter(|file| vocabulary_holds(file)) {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        faults.extend(vocabulary::fault(&name).map(|fault| format!("{}: {fault}", file.display())));
        let names: Vec<(usize, String)> = match file.extension().and_then(|ending| ending.to_str()) {
            Some("rs") => {
                let tokens = lexer::tokens(&crates::read(&file));
                tokens.iter().filter_map(|token| Some((token.line, token.word()?.to_owned()))).collect()
            }
            Some("sql") => vocabulary::sql_names(&crates::read(&file)),
            _ => continue,
        };
        for (line, name) in names {
            faults.extend(vocabulary::fault(&name).map(|fault| format!("{}:{line}: {fault}", file.display())));
        }
    }
    faults.dedup();
    assert_none("names that nobody can guess", &faults);
}

/// Documents and data are prose, also in their names.
fn vocabulary_holds(file: &Path) -> bool {
    ["rs", "sql", "py", "sh", "html", "txt", "yaml", "toml"]
        .iter()
        .any(|ending| file.extension().is_some_and(|own| own == *ending))
}

#[test]
fn no_public_type_has_the_name_of_another_one_in_its_crate() {
    let mut faults = Vec::new();
    for (root, modules) in targets().into_iter().filter(|(root, _)| root.ends_with("src/lib.rs")) {
        faults.extend(public_types::doubled(&modules).into_iter().map(|fault| format!("{}: {fault}", root.display())));
    }
    assert_none("doubled names", &faults);
}

#[test]
fn every_doc_comment_is_a_sentence() {
    let mut faults = Vec::new();
    for file in rust_files() {
        for (line, stump) in documentation::stumps(&lexer::tokens(&crates::read(&file))) {
            faults.push(format!("{}:{line}: {stump}", file.display()));
        }
    }
    assert_none("stumps of doc comments", &faults);
}

#[test]
fn each_dependency_says_what_it_is_for() {
    let manifest = crates::read(Path::new("Cargo.toml"));
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).expect("dependencies");
    let dependencies = dependencies.split("\n[").next().expect("a section");
    let silent = |line: &&str| line.contains(" = ") && !line.contains("path = ") && !line.contains(" # ");
    let faults: Vec<String> = dependencies.lines().filter(silent).map(str::to_owned).collect();
    assert_none("dependencies without a purpose", &faults);
}
