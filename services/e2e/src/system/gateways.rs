//! A second gateway of a system, as a program of its own.

use std::{net::SocketAddr, time::Duration};

use reqwest::Method;

use crate::{Api, Process, System, process::free_address, wait_until};

/// The time within which a gateway answers.
const START: Duration = Duration::from_secs(60);

impl System {
    /// Starts a gateway at an address, and waits until it answers.
    pub async fn gateway_at(&self, address: SocketAddr) -> (Process, Api) {
        let (address, admin) = (address.to_string(), free_address().to_string());
        let (nats, database) = (self.named("NATS_URL").expect("a URL"), self.named("DATABASE_URL").expect("a URL"));
        let mut command = self.tickbell();
        command.args(["gateway", "--http", &address, "--nats-url", &nats, "--database-url", &database]);
        command.env("TICKBELL_LINKS__SECRET", "0123456789abcdef").env("TICKBELL_ADMIN__LISTEN", admin);
        let process = self.spawn("another-gateway", &mut command);
        let api = Api::new(&format!("http://{address}"));
        let answers =
            async || Api::try_send(api.request(Method::GET, "/v1/prices")).await.filter(|answer| answer.status == 200);
        wait_until("it answers", START, answers).await;
        (process, api)
    }
}
