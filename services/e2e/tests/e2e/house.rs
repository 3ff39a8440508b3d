//! The lines of the house, held by reading the manifests: imports run one way, and each outside system has one door.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// Our crates, by floor: a crate may name those of lower floors only.
const FLOORS: [&[&str]; 6] = [
    &["events"],
    &["platform"],
    &["store", "prices"],
    &["coinnews", "price-ingestor", "alert-engine", "history-writer", "trade-settler", "notifier", "gateway"],
    &["tickbell"],
    &["journeys", "benches"],
];

/// Who may name a library that talks to an outside system. Benches measure against the bare client.
const DOORS: [(&str, &[&str]); 5] = [
    ("async-nats", &["platform", "benches"]),
    ("sqlx", &["store"]),
    ("lettre", &["notifier"]),
    ("rdkafka", &["kafka-bridge"]),
    ("tokio-tungstenite", &["price-ingestor"]),
];

/// Each crate with what it depends on.
fn crates() -> BTreeMap<String, Vec<String>> {
    let mut folders = vec![root().join("schemas"), root().join("benches")];
    let services = fs::read_dir(root().join("services")).expect("the services");
    folders.extend(services.map(|entry| entry.expect("a service").path()));
    folders.iter().map(|folder| manifest(folder.join("Cargo.toml"))).collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest(file: PathBuf) -> (String, Vec<String>) {
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (mut name, mut depends, mut section) = (String::new(), Vec::new(), "");
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        } else if let Some(quoted) = line.strip_prefix("name = ").filter(|_| section == "[package]") {
            name = quoted.trim_matches('"').to_owned();
        } else if section.contains("dependencies") && !line.is_empty() {
            depends.push(line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned());
        }
    }
    (name, depends)
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&name))
}

#[test]
fn imports_run_one_way() {
    let crates = crates();
    assert!(crates.len() >= 11, "{crates:?}");
    for (name, depends) in &crates {
        let own = floor(name).unwrap_or_else(|| panic!("{name} has no floor"));
        for depended in depends {
            let lower = floor(depended).is_none_or(|floor| floor < own);
            assert!(lower, "{name} names {depended}, which is not below it");
        }
    }
}

#[test]
fn each_outside_system_has_one_door() {
    for (name, depends) in crates() {
        for (library, doors) in DOORS {
            let allowed = !depends.iter().any(|depended| depended == library) || doors.contains(&name.as_str());
            assert!(allowed, "{name} names {library}; only {doors:?} may");
        }
    }
}

#[test]
fn each_dependency_says_what_it_is_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace manifest");
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).expect("dependencies");
    let dependencies = dependencies.split("\n[").next().expect("a section");
    for line in dependencies.lines().filter(|line| line.contains(" = ") && !line.contains("path = ")) {
        assert!(line.contains(" # "), "say what it is for: {line}");
    }
}
