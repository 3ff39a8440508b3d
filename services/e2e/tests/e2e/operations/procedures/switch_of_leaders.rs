//! The leader among two database servers is switched under running services, which know both.

use std::time::Duration;

use e2e::wait_until;

use super::{Deployment, deployment::SERVICES, walk};

/// Services find a new leader within 10 seconds; what else runs on this machine may delay the tests.
const FOUND: Duration = Duration::from_secs(15);
const FOLLOWS: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_databases_leader_is_switched_as_the_runbook_says() {
    let mut deployment = Deployment::without_services().await;
    let standby = deployment.servers.add_standby(&deployment.system).await;
    deployment.start_services(&SERVICES).await;
    deployment.work("BTC-USD").await;

    walk(&mut deployment, "The database's leader is switched", async |deployment, line| {
        match line {
            "kubectl cnpg status tickbell-postgres" => {
                let following = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
                let follows = async || (deployment.database().value(following) == "1").then_some(());
                wait_until("the standby follows", FOLLOWS, follows).await;
            }
            "kubectl cnpg promote tickbell-postgres tickbell-postgres-2" => {
                deployment.servers.switch_leader(&deployment.system, &standby).await;
            }
            "kubectl get pods" => deployment.wait_until_ready(FOUND).await,
            _ => return false,
        }
        true
    })
    .await;

    assert_eq!(standby.database.value("SELECT pg_is_in_recovery()"), "f", "it leads");
    deployment.work("ETH-USD").await;
    deployment.work("LTC-USD").await;
    deployment.assert_done_once().await;
}
