//! The direction of dependencies between crates, and the one crate that may talk to each outside system.

use std::path::Path;

use crate::crates::Crate;

/// The libraries by their layer: a crate may depend on crates of lower layers only.
const LIBRARIES: [(usize, &[&str]); 5] = [
    (0, &["events"]),
    (1, &["market-data", "platform"]),
    (2, &["rules", "ledger", "price-page"]),
    (3, &["store", "object-archive"]),
    (4, &["tick-history"]),
];
const SERVICES: usize = 5;
/// Above the services, by their layer.
const ON_TOP: [(usize, &[&str]); 2] = [(6, &["tickbell"]), (7, &["e2e", "benches"])];

/// Crates that only compute: what they may not even be built with.
const PURE: [&str; 5] = ["events", "rules", "ledger", "market-data", "price-page"];
const IMPURE: [&str; 15] = [
    "platform",
    "store",
    "object-archive",
    "tick-history",
    "tokio",
    "tokio-util",
    "futures",
    "async-nats",
    "sqlx",
    "reqwest",
    "axum",
    "hyper",
    "lettre",
    "metrics",
    "tracing",
];

/// Who may name a library that talks to an outside system. Benches measure against the bare client.
const DOORS: [(&str, &[&str]); 6] = [
    ("async-nats", &["platform", "benches"]),
    ("sqlx", &["store"]),
    ("lettre", &["notifier"]),
    ("rdkafka", &["kafka-bridge", "benches"]),
    ("object_store", &["object-archive"]),
    ("tokio-tungstenite", &["price-ingestor", "gateway", "e2e"]),
];

/// What is wrong with the dependencies of these crates.
pub(crate) fn faults(crates: &[Crate]) -> Vec<String> {
    let mut faults = Vec::new();
    for member in crates {
        let Some(own) = layer(member) else {
            faults.push(format!("{} in {} has no layer", member.name, member.folder.display()));
            continue;
        };
        for other in crates.iter().filter(|other| member.dependencies.contains(&other.name)) {
            if layer(other).is_some_and(|layer| layer >= own) {
                faults.push(format!("{} depends on {}, which is not below it", member.name, other.name));
            }
        }
        for library in member.built_with.iter().filter(|library| IMPURE.contains(&library.as_str())) {
            if PURE.contains(&member.name.as_str()) {
                faults.push(format!("{} only computes and depends on {library}", member.name));
            }
        }
        for (library, doors) in DOORS {
            if member.dependencies.contains(library) && !doors.contains(&member.name.as_str()) {
                faults.push(format!("{} depends on {library}, which only {doors:?} may", member.name));
            }
        }
    }
    faults
}

/// The layer of a crate: named above, or that of the services for what is deployed.
fn layer(member: &Crate) -> Option<usize> {
    let named = LIBRARIES.iter().chain(&ON_TOP).find(|(_, names)| names.contains(&member.name.as_str()));
    let deployed = member.folder.parent() == Some(Path::new("services"));
    named.map(|(layer, _)| *layer).or_else(|| deployed.then_some(SERVICES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(folder: &str, dependencies: &[&str]) -> Crate {
        let name = folder.rsplit('/').next().unwrap_or_default().to_owned();
        let dependencies: std::collections::BTreeSet<String> =
            dependencies.iter().map(|name| (*name).to_owned()).collect();
        Crate { name, folder: folder.into(), built_with: dependencies.clone(), dependencies }
    }

    #[test]
    fn a_crate_depends_on_lower_layers_only() {
        let right = [
            member("services/core/store", &["rules", "platform"]),
            member("services/core/rules", &["market-data"]),
            member("services/core/market-data", &[]),
            member("services/core/platform", &["async-nats"]),
            member("services/gateway", &["store", "serde"]),
            member("services/tickbell", &["gateway"]),
        ];
        assert_eq!(faults(&right), [""; 0]);
        for (wrong, said) in [
            (member("services/notifier", &["gateway"]), "notifier depends on gateway"),
            (member("services/core/ledger", &["rules"]), "ledger depends on rules"),
            (member("services/core/platform", &["store"]), "platform depends on store"),
            (member("services/core/helpers", &[]), "helpers in services/core/helpers has no layer"),
        ] {
            let found = faults(&[&right[..], &[wrong]].concat());
            assert!(found.len() == 1 && found[0].starts_with(said), "{found:?}");
        }
    }

    #[test]
    fn what_only_computes_is_built_without_a_runtime() {
        let found = faults(&[member("services/core/rules", &["tokio"]), member("services/core/platform", &["tokio"])]);
        assert_eq!(found, ["rules only computes and depends on tokio"]);
    }

    #[test]
    fn each_outside_system_has_one_door() {
        let doors = [member("services/core/store", &["sqlx"]), member("services/gateway", &["sqlx"])];
        let found = faults(&doors);
        assert_eq!(found, [r#"gateway depends on sqlx, which only ["store"] may"#]);
    }
}
