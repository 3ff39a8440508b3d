//! The crates of the workspace, read from its manifests: names, dependencies, and the files that each compiles.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold nothing of ours.
const IGNORED: [&str; 3] = ["target", "node_modules", "__pycache__"];

/// A member of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Crate {
    pub(crate) name: String,
    /// Where it is, below the root of the clone.
    pub(crate) folder: PathBuf,
    /// Every crate that its manifest names in any section of dependencies.
    pub(crate) dependencies: BTreeSet<String>,
    /// What its manifest names outside of the dependencies for tests.
    pub(crate) built_with: BTreeSet<String>,
}

/// The root of the clone.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("services/e2e is two below the root").to_owned()
}

/// All members of the workspace.
pub(crate) fn members() -> Vec<Crate> {
    let manifest = read(Path::new("Cargo.toml"));
    let crates = member_patterns(&manifest).into_iter().flat_map(|pattern| folders(&pattern));
    crates.map(|folder| parse(&folder, &read(&folder.join("Cargo.toml")))).collect()
}

/// The text of a file below the root.
pub(crate) fn read(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// All files of the clone that could be ours, by their path below the root.
pub(crate) fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    let root = root();
    found.iter().map(|file| file.strip_prefix(&root).expect("below the root").to_owned()).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("a folder").flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type().expect("a file");
        if kind.is_file() {
            found.push(entry.path());
        } else if kind.is_dir() && !name.starts_with('.') && !IGNORED.contains(&name.as_str()) {
            collect(&entry.path(), found);
        }
    }
}

fn member_patterns(manifest: &str) -> Vec<String> {
    let list = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).expect("members").0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn folders(pattern: &str) -> Vec<PathBuf> {
    let Some(above) = pattern.strip_suffix("/*") else { return vec![PathBuf::from(pattern)] };
    let entries = fs::read_dir(root().join(above)).expect("a folder of crates").flatten();
    let names = entries.filter(|entry| entry.path().join("Cargo.toml").is_file()).map(|entry| entry.file_name());
    let mut folders: Vec<_> = names.map(|name| Path::new(above).join(name)).collect();
    folders.sort();
    folders
}

fn parse(folder: &Path, manifest: &str) -> Crate {
    let mut parsed = Crate { folder: folder.to_owned(), ..Crate::default() };
    let mut section = "";
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            // `[dependencies.name]`
            if let Some((_, name)) = section.split_once("dependencies.") {
                parsed.add(section, name);
            }
        } else if let Some(quoted) = line.strip_prefix("name = ").filter(|_| section == "package") {
            parsed.name = quoted.trim_matches('"').to_owned();
        } else if section.ends_with("dependencies") && !line.is_empty() && !line.starts_with('#') && line.contains('=')
        {
            parsed.add(section, line.split(['.', ' ', '=']).next().unwrap_or_default().trim_matches('"'));
        }
    }
    parsed
}

impl Crate {
    fn add(&mut self, section: &str, name: &str) {
        self.dependencies.insert(name.to_owned());
        if !section.contains("dev-dependencies") {
            self.built_with.insert(name.to_owned());
        }
    }

    /// The root files of everything that it compiles: library, program, tests and benches.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let mut roots = vec![self.folder.join("src/lib.rs"), self.folder.join("src/main.rs")];
        let entries = fs::read_dir(root().join(&self.folder).join("tests")).into_iter().flatten().flatten();
        for entry in entries {
            let path = self.folder.join("tests").join(entry.file_name());
            roots.push(if entry.path().is_dir() { path.join("main.rs") } else { path });
        }
        roots.retain(|file| file.extension().is_some_and(|ending| ending == "rs") && root().join(file).is_file());
        roots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_however_they_are_written() {
        let manifest = "[package]\nname = \"a\"\n[features]\nb = []\n[dependencies]\nc.workspace = true\nd = { path = \"x\" }\n\
            # e = \"1\"\n[dependencies.f]\nversion = \"1\"\n[target.'cfg(unix)'.dependencies]\ng = \"1\"\n[dev-dependencies]\nh.workspace = true\n";
        let parsed = parse(Path::new("a"), manifest);
        let names = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!((parsed.name.as_str(), names(&parsed.dependencies).as_str()), ("a", "c d f g h"));
        assert_eq!(names(&parsed.built_with), "c d f g");
    }

    #[test]
    fn members_are_read_from_the_list_of_the_workspace() {
        assert_eq!(member_patterns("[workspace]\nmembers = [\n  \"a\",\n  \"b/*\",\n]\nx = [\"c\"]"), ["a", "b/*"]);
    }
}
