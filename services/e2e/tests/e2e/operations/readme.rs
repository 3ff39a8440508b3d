//! The commands that the README shows.

use std::path::Path;

use e2e::{System, tape};

/// The blocks that are marked `sh`.
fn blocks(text: &str) -> Vec<&str> {
    text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block)).collect()
}

#[tokio::test]
async fn every_curl_of_the_readme_works_from_top_to_bottom_in_one_shell() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).expect("a README");
    let mut system = System::start().await;
    // The README's prices come from the simulator.
    system.publish(&[tape::message(&tape::tick("simulator", "BTC-USD", "00:00:00", "68000"))]).await;
    system.wait_until_processed().await;

    let blocks: Vec<_> = blocks(&readme).into_iter().filter(|block| block.contains("curl ")).collect();
    assert!(blocks.len() >= 3, "the README shows {} blocks with curl", blocks.len());
    let script = format!("set -eux\n{}\n", blocks.join("\n")).replace("http://127.0.0.1:8080", system.api.base());
    let file = system.home().join("readme.sh");
    std::fs::write(&file, script).expect("a file");
    let output = tokio::process::Command::new("sh").arg(&file).output().await.expect("sh runs");
    let (said, traced) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{traced}", output.status);
    assert!(said.contains("\"manage_token\"") && said.contains("tickbell_alerts_fired_total"), "{said}");
    system.stop().await;
}
