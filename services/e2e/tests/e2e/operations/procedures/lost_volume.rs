//! The volumes of the broker are lost, with a rule and an order that no service had read.

use super::{Deployment, walk};

#[tokio::test]
async fn a_lost_volume_of_the_broker_is_replaced_as_the_runbook_says() {
    let mut deployment = Deployment::start().await;
    deployment.work("BTC-USD").await;
    deployment.publish("ETH-USD", "90").await;
    deployment.leave_unread("ETH-USD").await;

    walk(&mut deployment, "The broker's volume is lost", async |deployment, line| {
        match line {
            "kubectl delete pvc --selector app.kubernetes.io/component=nats" => {
                std::fs::remove_dir_all(deployment.system.data().join("nats/jetstream")).expect("our folder");
            }
            _ => return deployment.restart_broker(line).await,
        }
        true
    })
    .await;

    deployment.complete("ETH-USD").await;
    deployment.work("LTC-USD").await;
    deployment.assert_done_once().await;
}
