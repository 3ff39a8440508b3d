//! The database is restored to a point in time before a rule, a firing, its mail and an order.

use super::{Deployment, deployment::SERVICES, walk};

#[tokio::test]
async fn a_database_is_restored_in_a_cluster_as_the_runbook_says() {
    let mut deployment = Deployment::start().await;
    deployment.work("BTC-USD").await;
    deployment.servers.wait_until_processed(&deployment.system).await;
    deployment.run("pg_dump --format custom --file backup.dump \"$DATABASE_URL\"").await;
    deployment.work("ETH-USD").await;
    deployment.servers.wait_until_processed(&deployment.system).await;

    let mut old_url = None;
    walk(&mut deployment, "In a cluster, whatever the database", async |deployment, line| {
        match line {
            "kubectl scale deployment --selector app.kubernetes.io/part-of=tickbell --replicas 0" => {
                deployment.stop_services(&SERVICES).await;
            }
            "kubectl apply --filename restored.yaml" => {
                deployment.database().value("CREATE DATABASE restored");
                old_url = Some(deployment.servers.use_database("restored"));
                let restore =
                    "pg_restore --exit-on-error --no-owner --no-privileges --dbname \"$DATABASE_URL\" backup.dump";
                deployment.run(restore).await;
            }
            line if line.starts_with("pg_dump --data-only --inserts ") => {
                let old = old_url.as_deref().expect("it was replaced");
                deployment.run(&format!("OLD_DATABASE_URL='{old}'; {line}")).await;
            }
            "kubectl scale deployment alert-engine history-writer trade-settler notifier --replicas 2" => {
                deployment.start_services(&["alert-engine", "history-writer", "trade-settler", "notifier"]).await;
            }
            "kubectl scale deployment gateway-blue gateway-green --replicas 3" => {
                deployment.start_services(&["gateway"]).await;
            }
            // What they have effect on does not run here: an autoscaler, a poller, an ingestor and the copies of secrets.
            "kubectl annotate scaledobject notifier autoscaling.keda.sh/paused-replicas=0"
            | "kubectl annotate scaledobject notifier autoscaling.keda.sh/paused-replicas-"
            | "kubectl patch cronjob price-poller --patch '{\"spec\":{\"suspend\":true}}'"
            | "kubectl patch cronjob price-poller --patch '{\"spec\":{\"suspend\":false}}'"
            | "kubectl scale deployment price-ingestor archiver --replicas 1"
            | "kubectl wait cluster tickbell-postgres-restored --for condition=Ready --timeout 6h"
            | "kubectl annotate externalsecret --all force-sync=$(date +%s) --overwrite" => {}
            _ => return false,
        }
        true
    })
    .await;

    deployment.work("LTC-USD").await;
    deployment.assert_done_once().await;
}
