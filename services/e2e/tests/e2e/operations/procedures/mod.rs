//! The procedures of the runbook for what is lost, walked line by line: a test performs the commands of a section in their
//! order, exactly as they are written there.

mod deployment;
mod lost_node;
mod lost_volume;
mod older_copy;
mod restored_database;
mod switch_of_leaders;

use self::deployment::Deployment;

/// Performs every command of a section of the runbook. The program runs its own commands; `cluster` has the same effect on
/// processes as a command of the cluster has on pods, and returns false for one that it does not know.
async fn walk(deployment: &mut Deployment, heading: &str, mut cluster: impl AsyncFnMut(&mut Deployment, &str) -> bool) {
    for line in commands(heading) {
        if line.starts_with("tickbell ") {
            deployment.run(&line).await;
        } else {
            assert!(cluster(deployment, &line).await, "the walk of {heading:?} does not know the command {line:?}");
        }
    }
}

/// Returns the commands of the numbered steps of a section: the lines of its indented blocks, without their comments.
fn commands(heading: &str) -> Vec<String> {
    let runbook = include_str!("../../../../../../RUNBOOK.md");
    let mut lines = runbook.lines().skip_while(|line| line.strip_prefix("### ") != Some(heading)).skip(1);
    let section: Vec<&str> =
        lines.by_ref().take_while(|line| !line.starts_with("## ") && !line.starts_with("### ")).collect();
    let mut commands: Vec<String> = Vec::new();
    let (mut is_block, mut continues) = (false, false);
    for line in section {
        match line {
            "   ```sh" => is_block = true,
            "   ```" => is_block = false,
            line if is_block => {
                let command = line.split("  #").next().unwrap_or(line).trim();
                let (command, goes_on) = command.strip_suffix(" \\").map_or((command, false), |begin| (begin, true));
                match commands.last_mut().filter(|_| continues) {
                    Some(begun) => *begun = format!("{begun} {command}"),
                    None => commands.push(command.to_owned()),
                }
                continues = goes_on;
            }
            _ => {}
        }
    }
    assert!(!commands.is_empty(), "the runbook has no section {heading:?} with commands");
    commands
}
