//! A node is lost on which one of three broker servers with its volume and the leader of a service were.

use std::time::Duration;

use e2e::wait_until;

use super::{Deployment, deployment::SERVICES, walk};

/// A standby leads within 6 seconds; what else runs on this machine may delay it.
const TAKE_OVER: Duration = Duration::from_secs(15);
/// Streams that were led by the lost server elect another leader first.
const AGREE: Duration = Duration::from_secs(30);
/// The broker server on the node.
const LOST: usize = 2;

#[tokio::test]
async fn a_lost_node_is_replaced_as_the_runbook_says() {
    let mut deployment = Deployment::without_services().await;
    let mut cluster = deployment.servers.replace_broker_by_cluster(&deployment.system).await;
    deployment.start_services(&SERVICES).await;
    let standby = deployment.servers.start(&deployment.system, "alert-engine-elsewhere", &["alert-engine"]);
    wait_until("another alert-engine stands by", TAKE_OVER, async || standby.stands_by().await.then_some(())).await;
    deployment.work("BTC-USD").await;

    cluster.kill(LOST);
    deployment.kill_services(&["alert-engine"]);
    wait_until("the other alert-engine leads", AGREE, async || standby.leads().await.then_some(())).await;
    deployment.work("ETH-USD").await;
    walk(&mut deployment, "A node is lost", async |deployment, line| {
        match line {
            "kubectl get pods --output wide" => {}
            "kubectl delete node NODE" => deployment.start_services(&["alert-engine"]).await,
            "kubectl delete pvc nats-js-nats-2 --wait=false" => cluster.remove_volume(LOST),
            "kubectl delete pod nats-2 --force" => cluster.start(&deployment.system, LOST),
            "kubectl rollout status statefulset nats" => drop(deployment.wait_for_broker().await),
            "nats stream report" => deployment.servers.wait_until_replicated().await,
            "kubectl get pods" => deployment.wait_until_ready(AGREE).await,
            _ => return false,
        }
        true
    })
    .await;

    // What was given to the new server is enough for it and one other.
    cluster.kill(1);
    deployment.work("LTC-USD").await;
    deployment.assert_done_once().await;
}
