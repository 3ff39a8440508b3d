//! The modules of a crate, read from its root file on: what each declares, imports and names, without its tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::lexer::{Token, tokens};

/// A path of names, like `["trading", "orders"]`; a module's is counted from the root of its crate.
pub(crate) type Names = Vec<String>;

/// The modules of one compiled crate, by their path.
#[derive(Debug, Default)]
pub(crate) struct Modules(pub(crate) BTreeMap<Names, Module>);

/// One module: a file, or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: PathBuf,
    /// Whether code outside the crate can name it: it and all modules around it are declared `pub`.
    pub(crate) public: bool,
    pub(crate) children: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) definitions: Vec<Definition>,
    /// Paths that stand in code, outside of imports.
    pub(crate) paths: BTreeSet<Names>,
    /// All identifiers that stand in code, outside of imports.
    pub(crate) words: BTreeSet<String>,
}

/// One name that a `use` brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) path: Names,
    /// The name in this module; `*` for all of another module's.
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
}

/// A named item of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) keyword: String,
    pub(crate) visibility: Visibility,
}

/// Who may name an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    Private,
    /// `pub(crate)`, `pub(super)` or the like.
    Restricted,
    Public,
}

const ITEM_KEYWORDS: [&str; 9] = ["struct", "enum", "trait", "type", "union", "fn", "const", "static", "macro_rules"];

impl Modules {
    /// Reads a crate from its root file, with `read` for the text of a file, where it exists.
    pub(crate) fn read(root: &Path, read: &impl Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self::default();
        modules.add_file(root.to_owned(), Vec::new(), true, read);
        modules
    }

    fn add_file(&mut self, file: PathBuf, path: Names, public: bool, read: &impl Fn(&Path) -> Option<String>) {
        let Some(source) = read(&file) else { return };
        let mut reader = Reader { modules: self, file: file.clone(), tokens: without_tests(tokens(&source)), at: 0 };
        let mut outside = Vec::new();
        reader.module(path, public, &mut outside);
        for (child, public) in outside {
            let folder = folder_of_children(&file);
            let below = child.last().cloned().unwrap_or_default();
            let candidates = [folder.join(format!("{below}.rs")), folder.join(&below).join("mod.rs")];
            if let Some(found) = candidates.into_iter().find(|candidate| read(candidate).is_some()) {
                self.add_file(found, child, public, read);
            }
        }
    }
}

/// The folder in which the modules that a file declares have their files.
fn folder_of_children(file: &Path) -> PathBuf {
    let folder = file.parent().unwrap_or(Path::new(""));
    let is_root = folder.parent().is_some_and(|above| above.ends_with("tests"));
    match file.file_stem().and_then(|stem| stem.to_str()) {
        Some("mod" | "lib" | "main") | None => folder.to_owned(),
        Some(_) if is_root => folder.to_owned(),
        Some(stem) => folder.join(stem),
    }
}

struct Reader<'a> {
    modules: &'a mut Modules,
    file: PathBuf,
    tokens: Vec<Token>,
    at: usize,
}

impl Reader<'_> {
    /// Reads up to the brace that closes the module, or to the end of the file.
    fn module(&mut self, path: Names, public: bool, outside: &mut Vec<(Names, bool)>) {
        let mut module = Module { file: self.file.clone(), public, ..Module::default() };
        let (mut depth, mut visibility) = (0_usize, Visibility::Private);
        while let Some(token) = self.tokens.get(self.at) {
            match token.word() {
                Some("pub") => {
                    visibility = self.visibility();
                    continue;
                }
                Some("use") => self.import(visibility, &mut module),
                Some("mod") if self.word_at(self.at + 1).is_some() => {
                    let name = self.word_at(self.at + 1).unwrap_or_default();
                    let below: Names = path.iter().cloned().chain([name.clone()]).collect();
                    let is_public = public && visibility == Visibility::Public;
                    module.children.insert(name);
                    self.at += 3;
                    if self.tokens.get(self.at - 1).is_some_and(|token| token.is('{')) {
                        self.module(below, is_public, outside);
                    } else {
                        outside.push((below, is_public));
                    }
                }
                Some(keyword) if ITEM_KEYWORDS.contains(&keyword) => {
                    let keyword = keyword.to_owned();
                    self.at += 1 + usize::from(keyword == "macro_rules");
                    if let Some(name) = self.word_at(self.at).filter(|name| name != "fn") {
                        module.words.insert(name.clone());
                        module.definitions.push(Definition { name, keyword, visibility });
                        self.at += 1;
                    }
                }
                Some("async" | "unsafe" | "extern") => {
                    self.at += 1;
                    continue;
                }
                Some(_) => self.path(&mut module),
                None if token.is('{') => (depth, self.at) = (depth + 1, self.at + 1),
                None if token.is('}') && depth == 0 => {
                    self.at += 1;
                    break;
                }
                None if token.is('}') => (depth, self.at) = (depth - 1, self.at + 1),
                None => self.at += 1,
            }
            visibility = Visibility::Private;
        }
        self.modules.0.insert(path, module);
    }

    /// Reads `pub`, and what may stand in brackets behind it.
    fn visibility(&mut self) -> Visibility {
        self.at += 1;
        if !self.mark_at(self.at, '(') {
            return Visibility::Public;
        }
        while !self.mark_at(self.at, ')') && self.at < self.tokens.len() {
            self.at += 1;
        }
        self.at += 1;
        Visibility::Restricted
    }

    fn import(&mut self, visibility: Visibility, module: &mut Module) {
        self.at += 1;
        self.tree(Vec::new(), visibility, module);
        while !self.mark_at(self.at, ';') && self.at < self.tokens.len() {
            self.at += 1;
        }
    }

    /// Reads one tree of a `use`, which begins with `path`.
    fn tree(&mut self, mut path: Names, visibility: Visibility, module: &mut Module) {
        loop {
            if self.mark_at(self.at, '{') {
                self.at += 1;
                while !self.mark_at(self.at, '}') && self.at < self.tokens.len() {
                    self.tree(path.clone(), visibility, module);
                    self.at += usize::from(self.mark_at(self.at, ','));
                }
                self.at += 1;
                return;
            }
            if self.mark_at(self.at, '*') {
                self.at += 1;
                module.imports.push(Import { path, name: "*".into(), visibility });
                return;
            }
            match self.word_at(self.at) {
                // The module itself, among some of its names.
                Some(word) if word == "self" && !path.is_empty() => {}
                Some(word) => path.push(word),
                // `use ::name` is a name of another crate, and stays one.
                None if self.mark_at(self.at, ':') => path.push(String::new()),
                None => return,
            }
            self.at += usize::from(self.word_at(self.at).is_some());
            if self.mark_at(self.at, ':') && self.mark_at(self.at + 1, ':') {
                self.at += 2;
                continue;
            }
            let mut name = path.last().cloned().unwrap_or_default();
            if self.word_at(self.at).as_deref() == Some("as") {
                name = self.word_at(self.at + 1).unwrap_or_default();
                self.at += 2;
            }
            module.imports.push(Import { path, name, visibility });
            return;
        }
    }

    /// Reads an identifier, and the path that it begins.
    fn path(&mut self, module: &mut Module) {
        let begins = self.at == 0 || !(self.mark_at(self.at - 1, ':') || self.mark_at(self.at - 1, '.'));
        let mut path: Names = self.word_at(self.at).into_iter().collect();
        self.at += 1;
        while self.mark_at(self.at, ':') && self.mark_at(self.at + 1, ':') {
            let Some(next) = self.word_at(self.at + 2) else { break };
            path.push(next);
            self.at += 3;
        }
        module.words.extend(path.iter().cloned());
        if begins && path.len() > 1 {
            module.paths.insert(path);
        }
    }

    fn word_at(&self, at: usize) -> Option<String> {
        self.tokens.get(at)?.word().map(str::to_owned)
    }

    fn mark_at(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at).is_some_and(|token| token.is(mark))
    }
}

/// Takes out every item that only a test build has: `#[cfg(test)]`, `#[test]` and their like.
pub(crate) fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let (mut left, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let end = end_of_attribute(&tokens, at);
        let attribute = &tokens[at..end];
        let says = |name: &str| attribute.iter().any(|token| token.word() == Some(name));
        if says("test") && !says("not") && !says("cfg_attr") {
            at = end_of_item(&tokens, end);
        } else {
            let next = end.max(at + 1);
            left.extend_from_slice(&tokens[at..next]);
            at = next;
        }
    }
    left
}

/// Behind the attribute that begins here, or here when none does.
fn end_of_attribute(tokens: &[Token], at: usize) -> usize {
    if !tokens[at].is('#') || !tokens.get(at + 1).is_some_and(|token| token.is('[')) {
        return at;
    }
    let mut depth = 0_usize;
    for (offset, token) in tokens[at + 1..].iter().enumerate() {
        depth += usize::from(token.is('['));
        depth -= usize::from(token.is(']'));
        if depth == 0 {
            return at + 2 + offset;
        }
    }
    tokens.len()
}

/// Behind the item that begins here: its closing brace, or its semicolon outside of brackets.
fn end_of_item(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, token) in tokens[at..].iter().enumerate() {
        if ['{', '(', '['].iter().any(|open| token.is(*open)) {
            depth += 1;
        } else if ['}', ')', ']'].iter().any(|close| token.is(*close)) {
            depth = depth.saturating_sub(1);
            if depth == 0 && token.is('}') {
                return at + offset + 1;
            }
        } else if depth == 0 && token.is(';') {
            return at + offset + 1;
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The modules of a crate whose files are these.
    pub(crate) fn modules_of(files: &[(&str, &str)]) -> Modules {
        let read = |file: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == file);
            found.map(|(_, text)| (*text).to_owned())
        };
        Modules::read(Path::new(files[0].0), &read)
    }

    #[test]
    fn imports_are_read_with_their_braces_and_other_names() {
        let modules = modules_of(&[("src/lib.rs", "pub use a::{self, b::{C, D as E}, f::*}; use ::g::H;")]);
        let imports = &modules.0[&Vec::new()].imports;
        let shown: Vec<String> = imports.iter().map(|i| format!("{} = {}", i.name, i.path.join("::"))).collect();
        assert_eq!(shown, ["a = a", "C = a::b::C", "E = a::b::D", "* = a::f", "H = ::g::H"]);
        assert_eq!(imports[0].visibility, Visibility::Public);
        assert_eq!(imports[4].visibility, Visibility::Private);
    }

    #[test]
    fn modules_are_found_in_files_in_folders_and_inline() {
        let modules = modules_of(&[
            ("src/lib.rs", "pub mod a; mod b { pub mod c { pub struct D; } }"),
            ("src/a/mod.rs", "pub(crate) mod e;"),
            ("src/a/e.rs", "fn f() { crate::b::c::D; self.g::<H>(); i::j(k) }"),
            ("src/never.rs", "nobody declares it"),
        ]);
        let found: Vec<String> = modules.0.keys().map(|path| path.join("::")).collect();
        assert_eq!(found, ["", "a", "a::e", "b", "b::c"]);
        let e = &modules.0[&vec!["a".to_owned(), "e".to_owned()]];
        let paths: Vec<String> = e.paths.iter().map(|path| path.join("::")).collect();
        assert_eq!((paths.join(" "), e.public), ("crate::b::c::D i::j".into(), false));
        assert!(modules.0[&vec!["a".to_owned()]].public);
    }

    #[test]
    fn what_only_tests_have_is_left_out() {
        let source = "use a::A; #[cfg(test)] mod tests { use b::B; } #[test] fn c() { d::e(); } #[tokio::test]
            #[ignore] async fn f([g]: [u8; 2]) { h::i(); } #[cfg(not(test))] use j::J; #[cfg(test)] mod k; fn l() {}";
        let modules = modules_of(&[("src/lib.rs", source), ("src/k.rs", "struct M;")]);
        let root = &modules.0[&Vec::new()];
        let names: Vec<_> = root.imports.iter().map(|import| import.name.as_str()).collect();
        assert_eq!((names, root.definitions.len(), modules.0.len()), (vec!["A", "J"], 1, 1));
        assert_eq!(root.paths, BTreeSet::new());
    }
}
