#![allow(missing_docs, clippy::unwrap_used)]
use platform::*;
#[tokio::main]
async fn main() {
    let t = platform::telemetry::init(
        "gateway",
        &telemetry::Settings { log: std::env::var("LOG").unwrap_or("info".into()), ..Default::default() },
    )
    .unwrap();
    let shutdown = Shutdown::new();
    let health = Health::default();
    let store =
        store::Store::connect(&store::Settings { url: std::env::var("DB").unwrap(), ..Default::default() }, "gateway")
            .await
            .unwrap();
    store.migrate().await.unwrap();
    let broker = Broker::connect(
        &broker::Settings { url: std::env::var("NATS").unwrap(), ..Default::default() },
        "gateway",
        health.check("broker"),
        shutdown.clone(),
    )
    .await
    .unwrap();
    topology::apply(&broker, &events::streams::Topology::declared().unwrap()).await.unwrap();
    let links = links::Links::new(&links::Settings {
        secret: "0123456789abcdef".into(),
        base_url: "http://127.0.0.1:8099".into(),
    })
    .unwrap();
    let confirmation =
        if std::env::var("CONFIRM").is_ok() { gateway::Confirmation::Required } else { gateway::Confirmation::Off };
    let s = gateway::Settings {
        listen: std::env::var("HTTP").unwrap().parse().unwrap(),
        cors_origins: vec!["*".into()],
        confirmation,
        ..Default::default()
    };
    if let Ok(id) = std::env::var("LINK") {
        let id = id.parse().unwrap();
        println!("{}\n{}", links.url(links::Purpose::Confirm, id), links.url(links::Purpose::Unsubscribe, id));
        return;
    }
    let g = match gateway::Gateway::bind(s, links, store.clone(), broker, health.clone(), t.metrics.clone()).await {
        Ok(g) => g,
        Err(e) => {
            println!("{}", fault::chain(&e));
            return;
        }
    };
    let sd = shutdown.clone();
    tokio::spawn(async move {
        tokio::signal::ctrl_c().await.unwrap();
        sd.cancel();
    });
    let (h2, s2, st) = (health.clone(), shutdown.clone(), store.clone());
    tokio::spawn(async move { st.watch(&h2, &s2).await });
    println!("{:?}", g.serve(shutdown).await);
}
