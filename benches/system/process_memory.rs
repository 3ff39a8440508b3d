//! The memory of a program and of the servers that it has started.

use std::{collections::BTreeMap, fs};

use anyhow::Context;

/// A running process.
struct Process {
    id: u32,
    parent: u32,
    program: String,
    bytes: u64,
}

/// Returns the bytes that a process and its descendants have in memory, by the name of the program. Files that are mapped and memory
/// that processes share do not count: the database's shared buffers have a fixed size, and each of its processes would count them.
pub(crate) fn of_tree(root: u32) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc, which Linux has")? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.parse().ok()) {
            // A process may end before it is read.
            processes.extend(read(id));
        }
    }
    let (mut tree, mut found) = (vec![root], BTreeMap::new());
    while let Some(id) = tree.pop() {
        for process in processes.iter().filter(|process| process.id == id) {
            *found.entry(process.program.clone()).or_default() += process.bytes;
        }
        tree.extend(processes.iter().filter(|process| process.parent == id).map(|process| process.id));
    }
    Ok(found)
}

fn read(id: u32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let kilobytes = field("RssAnon:").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Some(Process {
        id,
        parent: field("PPid:")?.parse().ok()?,
        program: field("Name:")?.to_owned(),
        bytes: 1_024 * kilobytes.unwrap_or_default(),
    })
}
