//! `SETTINGS.md` is generated from `tickbell.example.toml`: `UPDATE=1 cargo test -p tickbell --test published`.
//!
//! In the sample file the comment above a setting says what it does; a line that begins with `Allowed:` says the allowed
//! values, and one that begins with `With up:` says the default that `tickbell up` has instead.

use std::{fs, path::PathBuf};

const HEAD: &str = "# Settings

Generated from [tickbell.example.toml](tickbell.example.toml) by `make schemas`; do not edit.

Settings come from `tickbell.toml` in the current folder (or `--config FILE`), then from environment variables, then from
flags; the later wins. The variable of `section.key` is `TICKBELL_SECTION__KEY`, and that of a deeper key, like
`price_ingestor.simulator.seed`, is `TICKBELL_PRICE_INGESTOR__SIMULATOR__SEED`. A list in a variable is separated by
commas; an empty variable counts as absent. `NATS_URL` and `DATABASE_URL` are weaker than their `TICKBELL_` variables and
stronger than the file. The file `<data-dir>/env` of a running `tickbell up` is weaker than all of these. A wrong setting
ends the program with status 64 and an error that names it.

| setting | default | allowed | what it does |
|---|---|---|---|
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns key and value of a line like `# batch = 5000`; every other comment is text.
fn setting(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.split_once(" = ")?;
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_').then_some((key, value))
}

/// Returns one row per setting.
fn rows(example: &str) -> Vec<String> {
    let (mut rows, mut section, mut comments) = (Vec::new(), "", Vec::new());
    for line in example.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            (section, comments) = (header, Vec::new());
            continue;
        }
        let Some(comment) = line.strip_prefix("# ") else {
            comments.clear();
            continue;
        };
        match setting(comment) {
            None => comments.push(comment),
            Some((key, value)) => {
                rows.push(row(&format!("{section}.{key}"), value, &comments));
                comments.clear();
            }
        }
    }
    rows
}

fn row(name: &str, default: &str, comments: &[&str]) -> String {
    let (allowed, text): (Vec<&str>, Vec<&str>) = comments.iter().partition(|line| line.starts_with("Allowed: "));
    assert!(!text.is_empty(), "{name} has no description");
    let [allowed] = allowed[..] else { panic!("{name} needs one line of `Allowed:`") };
    let allowed = allowed.trim_start_matches("Allowed: ").trim_end_matches('.');
    let default = match default {
        "\"\"" | "[]" | "{}" => "none".to_owned(),
        value => format!("`{}`", value.trim_matches('"')),
    };
    let cell = |text: &str| text.replace('|', "\\|").replace('<', "&lt;");
    format!("| `{name}` | {default} | {} | {} |", cell(allowed), cell(&text.join(" ")))
}

#[test]
fn the_table_of_settings_is_fresh() {
    let example = fs::read_to_string(root().join("tickbell.example.toml")).expect("the sample settings");
    let rows = rows(&example);
    assert!(rows.len() > 50, "{} settings", rows.len());
    let table = format!("{HEAD}{}\n", rows.join("\n"));
    let path = root().join("SETTINGS.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &table).expect("written");
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(published, table, "SETTINGS.md is stale: run `make schemas`");
}
