//! Standard output and the environment, as a script meets them.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

fn tickbell(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickbell"));
    command.args(arguments.split(' ')).current_dir(std::env::temp_dir());
    command
}

const ANSWERS: [&str; 5] =
    ["--help", "--version", "orders place --help", "streams export --format nack", "status --check-settings"];

#[test]
fn an_answer_that_cannot_be_written_is_a_failure_that_is_said() {
    for arguments in ANSWERS {
        let full = File::options().write(true).open("/dev/full").expect("a full disk");
        let Output { status, stderr, .. } = tickbell(arguments).stdout(full).output().expect("the program runs");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{arguments}: {said}");
        assert!(said.contains("standard output") && said.contains("No space left"), "{arguments}: {said}");
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    for arguments in ANSWERS {
        let mut reader = Command::new("true").stdin(Stdio::piped()).spawn().expect("true runs");
        let pipe = reader.stdin.take().expect("a pipe");
        reader.wait().expect("it has ended");
        let Output { status, stderr, .. } = tickbell(arguments).stdout(pipe).output().expect("the program runs");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), &*said), (Some(0), ""), "{arguments}");
    }
}

#[test]
fn the_variables_of_libpq_do_not_change_an_answer() {
    let plain = tickbell("--version").output().expect("the program runs");
    let with = tickbell("--version").env("PGOPTIONS", "-c nonsense=1").output().expect("the program runs");
    assert_eq!(plain, with);
}
