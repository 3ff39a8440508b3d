//! Names of types that stand twice in what a crate shows to others.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    circles::Target,
    modules::{Modules, Names, Visibility},
};

const TYPES: [&str; 4] = ["struct", "enum", "trait", "type"];

/// Names that may stand twice, and why: the settings of each part are named by its path (`broker::Settings`).
const NAMED_BY_THEIR_PATH: [&str; 1] = ["Settings"];

/// Public types of one name, each with the modules that define it.
pub(crate) fn doubled(modules: &Modules) -> Vec<String> {
    let mut places: BTreeMap<&str, BTreeSet<Names>> = BTreeMap::new();
    for (path, module) in &modules.0 {
        let types = module.definitions.iter().filter(|definition| TYPES.contains(&definition.keyword.as_str()));
        for definition in types.filter(|definition| definition.visibility == Visibility::Public) {
            if module.public || is_shown(modules, path, &definition.name) {
                places.entry(&definition.name).or_default().insert(path.clone());
            }
        }
    }
    places.retain(|name, places| places.len() > 1 && !NAMED_BY_THEIR_PATH.contains(name));
    let shown = |places: &BTreeSet<Names>| places.iter().map(|path| path.join("::")).collect::<Vec<_>>().join(", ");
    places.iter().map(|(name, places)| format!("{name} in {}", shown(places))).collect()
}

/// Whether a public module passes on a type of a private one.
fn is_shown(modules: &Modules, private: &Names, name: &str) -> bool {
    let wanted = Target::Item { module: private.clone(), name: name.to_owned() };
    let all = Target::Module(private.clone());
    modules.0.iter().filter(|(_, module)| module.public).any(|(path, module)| {
        let shown = module.imports.iter().filter(|import| import.visibility == Visibility::Public);
        shown.into_iter().any(|import| {
            let target = modules.resolve(path, &import.path, 0);
            target == wanted || import.name == "*" && target == all
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn doubled_in(source: &str) -> Vec<String> {
        doubled(&Modules::read(Path::new("src/lib.rs"), &|file| {
            (file == Path::new("src/lib.rs")).then(|| source.to_owned())
        }))
    }

    #[test]
    fn one_name_in_two_public_modules_is_found() {
        let source = "pub mod a { pub struct Order; } pub mod b { pub enum Order {} pub struct Trade; }";
        assert_eq!(doubled_in(source), ["Order in a, b"]);
    }

    #[test]
    fn what_a_private_module_keeps_to_itself_does_not_count() {
        let private = "pub mod a { pub struct Order; } mod b { pub struct Order; }";
        assert_eq!(doubled_in(private), [""; 0]);
        assert_eq!(doubled_in(&format!("{private} pub use b::Order as Other;")), ["Order in a, b"]);
        assert_eq!(doubled_in(&format!("{private} pub use b::*;")), ["Order in a, b"]);
    }

    #[test]
    fn a_type_that_is_passed_on_is_still_one_type() {
        assert_eq!(doubled_in("pub mod a { pub struct Order; } pub use a::Order;"), [""; 0]);
    }
}
