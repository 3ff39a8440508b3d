//! A data directory of another format, as a user meets it.

use std::{fs, process::Command};

#[test]
fn up_refuses_a_data_directory_of_another_format_and_leaves_it_as_it_is() {
    let folder = std::env::temp_dir().join(format!("tickbell-format-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("format"), "99\n").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_tickbell"))
        .args(["up", "--data-dir"])
        .arg(&folder)
        .output()
        .expect("the program runs");
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("format 99") && message.contains("--data-dir"), "{message}");
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "something was created");
    fs::remove_dir_all(&folder).expect("removed");
}
