//! The commands that the README shows.

use std::path::Path;

use e2e::{System, process::tickbell, tape};

/// The blocks that are marked `sh`.
fn blocks(text: &str) -> Vec<&str> {
    text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block)).collect()
}

#[tokio::test]
async fn every_command_of_the_readme_works_from_top_to_bottom_in_one_shell() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("a README");
    let mut system = System::start().await;
    // The README's prices come from the simulator.
    system.publish(&[tape::message(&tape::tick("simulator", "BTC-USD", "00:00:00", "68000"))]).await;
    system.wait_until_processed().await;

    let blocks = blocks(&readme);
    assert!(blocks.len() >= 8, "the README shows {} blocks", blocks.len());
    // The README's shell stands in the folder of the clone, where `.tickbell/env` has the addresses.
    let program = tickbell(system.home());
    let folder = Path::new(program.get_program()).parent().expect("a folder");
    let script = format!("set -eux\nPATH='{}':$PATH\n{}\n", folder.display(), blocks.join("\n"))
        .replace("http://127.0.0.1:8080", system.api.base());
    let file = system.home().join("readme.sh");
    std::fs::write(&file, script).expect("a file");
    let mut shell = tokio::process::Command::new("sh");
    shell.arg(&file).current_dir(system.home()).env("TICKBELL_CLIENT__URL", system.api.base());
    for name in ["NATS_URL", "DATABASE_URL"] {
        shell.env(name, system.named(name).expect("a URL"));
    }
    let output = shell.output().await.expect("sh runs");
    let (said, traced) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{traced}", output.status);
    assert!(said.contains("\"manage_token\"") && said.contains("tickbell_alerts_fired_total"), "{said}");
    system.stop().await;
}
