//! An older copy of the broker's volumes is put back, which lacks a rule and an order that no service had read.

use super::{Deployment, walk};

#[tokio::test]
async fn an_older_copy_of_the_brokers_volume_is_put_back_as_the_runbook_says() {
    let mut deployment = Deployment::start().await;
    deployment.work("BTC-USD").await;
    deployment.servers.wait_until_processed(&deployment.system).await;
    let copy = deployment.system.copy_streams();
    deployment.work("LTC-USD").await;
    deployment.publish("ETH-USD", "90").await;
    deployment.leave_unread("ETH-USD").await;

    walk(&mut deployment, "An older copy of the broker's volume is put back", async |deployment, line| {
        match line {
            "kubectl delete pvc --selector app.kubernetes.io/component=nats" => {}
            "kubectl apply --filename nats-volumes.yaml" => deployment.system.replace_streams(&copy),
            _ => return deployment.restart_broker(line).await,
        }
        true
    })
    .await;

    deployment.complete("ETH-USD").await;
    deployment.work("XRP-USD").await;
    deployment.assert_done_once().await;
}
