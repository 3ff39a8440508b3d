//! How many source files a folder holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A subject that needs more files than this is two subjects.
const MOST_FILES: usize = 12;
/// What is counted: Rust, Python, shell, TypeScript and SQL; a script may also have no ending.
const SOURCES: [&str; 6] = ["rs", "py", "sh", "ts", "tsx", "sql"];

/// The folders that hold too many source files.
pub(crate) fn crowded(files: &[PathBuf], is_script: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut counts: BTreeMap<&Path, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| is_source(file, &is_script)) {
        *counts.entry(file.parent().unwrap_or(Path::new(""))).or_default() += 1;
    }
    let crowded = counts.into_iter().filter(|(_, count)| *count > MOST_FILES);
    crowded.map(|(folder, count)| format!("{} holds {count} source files", folder.display())).collect()
}

fn is_source(file: &Path, is_script: impl Fn(&Path) -> bool) -> bool {
    match file.extension().and_then(|ending| ending.to_str()) {
        Some(ending) => SOURCES.contains(&ending),
        None => is_script(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dozen_source_files_are_enough() {
        let mut files: Vec<PathBuf> = (0..12).map(|n| PathBuf::from(format!("a/{n}.rs"))).collect();
        files.push("a/readme.md".into());
        files.push("a/b/more.rs".into());
        assert_eq!(crowded(&files, |_| false), [""; 0]);
        files.push("a/deploy".into());
        assert_eq!(crowded(&files, |_| false), [""; 0]);
        assert_eq!(crowded(&files, |_| true), ["a holds 13 source files"]);
    }
}
