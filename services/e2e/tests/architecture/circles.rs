//! Circles of imports between the files of a crate.
//!
//! A file imports another when its code, tests aside, names an item that the other one defines, by whatever path, with
//! these rules:
//!
//! - What a module encloses may use what it defines (its settings, its error): from a child to a parent there is no edge.
//!   A parent that uses its child is an edge, so two children that use each other through their parent are a circle.
//! - A name that a module passes on with `pub use` is looked up where it is defined: whoever takes it from a `mod.rs`
//!   imports the child, and the `mod.rs` imports the child only if it uses the name itself.
//! - A module that is imported as a whole counts by what is then named in it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
};

use crate::modules::{Import, Module, Modules, Names, Visibility};

/// How often a name may be passed on before the search for its definition gives up.
const MOST_STEPS: usize = 32;

/// The files of a crate, and which files each imports.
pub(crate) type Graph = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// The thing that a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// An item that a module defines.
    Item { module: Names, name: String },
    /// A whole module of this crate.
    Module(Names),
    /// Something of another crate.
    Foreign,
}

impl Modules {
    /// Lists the files, and those that each of them imports.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (path, module) in &self.0 {
            let imports = module.imports.iter().filter(|import| is_used(module, import)).map(|import| &import.path);
            let targets = imports.chain(&module.paths).map(|names| self.resolve(path, names, 0));
            let named = targets.filter_map(|target| match target {
                Target::Item { module, .. } if !path.starts_with(&module) => self.0.get(&module),
                _ => None,
            });
            let named = named.map(|module| &module.file);
            let globs = module.imports.iter().filter(|import| import.name == "*" && !is_passed_on(import));
            let globs = globs.filter_map(|import| match self.resolve(path, &import.path, 0) {
                Target::Module(module) if !path.starts_with(&module) => self.0.get(&module).map(|module| &module.file),
                _ => None,
            });
            let others = named.chain(globs).filter(|file| **file != module.file).cloned();
            graph.entry(module.file.clone()).or_default().extend(others);
        }
        graph
    }

    /// Finds what a path means in the module where it stands.
    pub(crate) fn resolve(&self, from: &Names, names: &[String], steps: usize) -> Target {
        let Some((first, rest)) = names.split_first().filter(|_| steps < MOST_STEPS) else { return Target::Foreign };
        match first.as_str() {
            "crate" => self.descend(Vec::new(), rest, steps),
            "self" => self.descend(from.clone(), rest, steps),
            "super" => {
                let mut above = from.clone();
                let mut rest = rest;
                above.pop();
                while let Some((_, more)) = rest.split_first().filter(|(next, _)| *next == "super") {
                    above.pop();
                    rest = more;
                }
                self.descend(above, rest, steps)
            }
            _ => match self.0.get(from) {
                Some(module) if module.children.contains(first) => self.descend(from.clone(), names, steps),
                Some(module) => self.imported(from, module, first, rest, steps).unwrap_or(Target::Foreign),
                None => Target::Foreign,
            },
        }
    }

    /// Finds what names mean below a module.
    fn descend(&self, mut at: Names, names: &[String], steps: usize) -> Target {
        for (index, name) in names.iter().enumerate() {
            let Some(module) = self.0.get(&at) else { return Target::Foreign };
            if module.children.contains(name) {
                // A module may pass on a function that has the name of the child that defines it.
                let is_last = index + 1 == names.len();
                if is_last && let Some(item @ Target::Item { .. }) = self.imported(&at, module, name, &[], steps) {
                    return item;
                }
                at.push(name.clone());
                continue;
            }
            let item = Target::Item { module: at.clone(), name: name.clone() };
            if module.definitions.iter().any(|definition| definition.name == *name) {
                return item;
            }
            return self.imported(&at, module, name, &names[index + 1..], steps).unwrap_or(item);
        }
        Target::Module(at)
    }

    /// Finds a name that a module imports; `None` when it imports no such name.
    fn imported(&self, at: &Names, module: &Module, name: &str, rest: &[String], steps: usize) -> Option<Target> {
        if let Some(import) = module.imports.iter().find(|import| import.name == name) {
            // `use name;` and `use name as name;` of a crate would lead back to themselves.
            if import.path.first().is_some_and(|first| first == name) && !module.children.contains(name) {
                return Some(Target::Foreign);
            }
            let whole: Names = import.path.iter().chain(rest).cloned().collect();
            return Some(self.resolve(at, &whole, steps + 1));
        }
        let globs = module.imports.iter().filter(|import| import.name == "*");
        globs
            .filter_map(|import| match self.resolve(at, &import.path, steps + 1) {
                Target::Module(found) if found != *at => Some(found),
                _ => None,
            })
            .find_map(|found| {
                let module = self.0.get(&found)?;
                let whole: Names = [name.to_owned()].into_iter().chain(rest.iter().cloned()).collect();
                let known = module.children.contains(name)
                    || module.definitions.iter().any(|definition| definition.name == name)
                    || self.imported(&found, module, name, rest, steps + 1).is_some();
                known.then(|| self.descend(found, &whole, steps + 1))
            })
    }
}

/// A name that is only passed on is no import, unless the module uses it too.
fn is_used(module: &Module, import: &Import) -> bool {
    import.name != "*" && (!is_passed_on(import) || module.words.contains(&import.name))
}

fn is_passed_on(import: &Import) -> bool {
    import.visibility != Visibility::Private
}

/// One circle, the shortest, of each set of files that all lead to each other; from its first file back to it.
pub(crate) fn circles(graph: &Graph) -> Vec<Vec<PathBuf>> {
    let mut seen: BTreeSet<&PathBuf> = BTreeSet::new();
    let mut found = Vec::new();
    for start in graph.keys() {
        let from_here = reachable(graph, start);
        if seen.contains(start) || !from_here.contains(start) {
            continue;
        }
        let knot: Vec<&PathBuf> = from_here.into_iter().filter(|file| reachable(graph, file).contains(start)).collect();
        found.extend(knot.iter().filter_map(|file| shortest_circle(graph, file)).min_by_key(Vec::len));
        seen.extend(knot);
    }
    found
}

/// The files to which a file leads, itself only when it is in a circle.
fn reachable<'a>(graph: &'a Graph, start: &'a PathBuf) -> BTreeSet<&'a PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![start]);
    while let Some(file) = open.pop() {
        let next = graph.get(file).into_iter().flatten();
        open.extend(next.filter(|next| found.insert(*next)));
    }
    found
}

fn shortest_circle(graph: &Graph, start: &PathBuf) -> Option<Vec<PathBuf>> {
    let mut before: BTreeMap<&PathBuf, &PathBuf> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in graph.get(file)? {
            if next == start {
                let mut circle = vec![start.clone(), file.clone()];
                while circle.last() != Some(start) {
                    let last = circle.last()?;
                    circle.push((*before.get(last)?).clone());
                }
                circle.reverse();
                return Some(circle);
            }
            if !before.contains_key(next) {
                before.insert(next, file);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The circles of a crate whose files are these, the first being its root.
    fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
        let read = |file: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == file);
            found.map(|(_, text)| (*text).to_owned())
        };
        let graph = Modules::read(Path::new(files[0].0), &read).graph();
        let shown =
            |circle: Vec<PathBuf>| circle.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" > ");
        circles(&graph).into_iter().map(shown).collect()
    }

    #[test]
    fn two_files_that_name_each_other_are_a_circle() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            ("src/b.rs", "pub struct B(super::a::A);"),
        ]);
        assert_eq!(found, ["src/a.rs > src/b.rs > src/a.rs"]);
    }

    #[test]
    fn a_child_may_use_what_its_parent_defines_though_the_parent_uses_the_child() {
        let root = ("src/lib.rs", "mod a; pub struct Settings; fn run() { a::start() }");
        assert_eq!(circles_of(&[root, ("src/a.rs", "pub fn start(_: &crate::Settings) {}")]), [""; 0]);
    }

    #[test]
    fn a_folder_that_another_folder_uses_and_that_uses_the_other_is_a_circle() {
        let found = circles_of(&[
            ("src/lib.rs", "mod cli; mod commands;"),
            ("src/cli.rs", "pub struct Flags; pub fn run() { crate::commands::list(&Flags) }"),
            ("src/commands/mod.rs", "mod list; pub use list::list;"),
            ("src/commands/list.rs", "use crate::cli::Flags; pub fn list(_: &Flags) {}"),
        ]);
        assert_eq!(found, ["src/cli.rs > src/commands/list.rs > src/cli.rs"]);
    }

    #[test]
    fn a_parent_that_only_passes_names_on_is_in_no_circle() {
        let parts = |parent| {
            circles_of(&[
                ("src/lib.rs", "mod a; mod d;"),
                ("src/a/mod.rs", parent),
                ("src/a/b.rs", "pub struct B(crate::d::D);"),
                ("src/d.rs", "use crate::a::E; pub struct D(E);"),
            ])
        };
        assert_eq!(parts("mod b; pub use b::B; pub struct E;"), [""; 0]);
        let used = parts("mod b; pub use b::B; pub struct E(Box<B>);");
        assert_eq!(used, ["src/a/b.rs > src/d.rs > src/a/mod.rs > src/a/b.rs"]);
    }

    #[test]
    fn a_name_is_looked_up_where_it_is_defined_through_any_number_of_hands() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a; mod b; mod c; pub use b::*;"),
            ("src/a.rs", "use crate::Thing as Other; pub fn a(_: Other) {}"),
            ("src/b.rs", "pub use crate::c::Thing;"),
            ("src/c.rs", "use crate::a; pub struct Thing; fn c() { a::a(Thing) }"),
        ]);
        assert_eq!(found, ["src/a.rs > src/c.rs > src/a.rs"]);
    }

    #[test]
    fn tests_and_names_of_other_crates_make_no_circle() {
        let found = circles_of(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use store::B; use std::fmt; pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
            ("src/b.rs", "use crate::a::A; pub struct B(A); impl fmt::Debug for B {}"),
        ]);
        assert_eq!(found, [""; 0]);
    }
}
