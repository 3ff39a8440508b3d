//! The processes: both servers, a mail server, a source of prices, and two instances of every service. Each instance has
//! connections of its own, which pass through proxies.

use std::{fmt, time::Duration};

use e2e::{
    Addresses, MailServer, Process, Proxy, Servers, Service, System,
    process::{Frozen, free_address},
    system::Server,
    wait_until,
};

/// The settings of all services, with shorter waits where those are an operator's choice.
const SETTINGS: [(&str, &str); 8] = [
    ("TICKBELL_DATABASE__MAX_CONNECTIONS", "8"),
    ("TICKBELL_TRADE_SETTLER__PRICE_AGE", "stored"),
    ("TICKBELL_NOTIFIER__RETRY_AFTER_SECONDS", "1"),
    ("TICKBELL_SMTP__TIMEOUT_SECONDS", "5"),
    ("TICKBELL_PRICE_INGESTOR__COINNEWS__INTERVAL", "1s"),
    ("TICKBELL_PRICE_INGESTOR__COINNEWS__HISTORY", "never"),
    ("TICKBELL_COINNEWS__INTERVAL", "1s"),
    ("TICKBELL_TELEMETRY__LOG_FORMAT", "json"),
];
const START: Duration = Duration::from_secs(60);

/// A service of which two instances run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    PriceIngestor,
    HistoryWriter,
    AlertEngine,
    TradeSettler,
    Notifier,
    Gateway,
}

/// One instance, which is started again at the same addresses.
pub(crate) struct Instance {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) addresses: Addresses,
    pub(crate) nats: Proxy,
    pub(crate) postgres: Proxy,
    pub(crate) mail: Proxy,
    /// None while a fault has ended it.
    pub(crate) service: Option<Service>,
    pub(crate) frozen: Option<Frozen>,
}

/// Everything that runs.
pub(crate) struct Cluster {
    pub(crate) instances: Vec<Instance>,
    pub(crate) servers: Servers,
    pub(crate) mail: MailServer,
    pub(crate) system: System,
    source: String,
    _coinnews: Process,
}

impl Role {
    pub(crate) const ALL: [Self; 6] = [
        Self::PriceIngestor,
        Self::HistoryWriter,
        Self::AlertEngine,
        Self::TradeSettler,
        Self::Notifier,
        Self::Gateway,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::PriceIngestor => "price-ingestor",
            Self::HistoryWriter => "history-writer",
            Self::AlertEngine => "alert-engine",
            Self::TradeSettler => "trade-settler",
            Self::Notifier => "notifier",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Cluster {
    /// Starts everything and waits until every instance is ready.
    pub(crate) async fn start() -> Self {
        let mut system = System::start().await;
        let servers = Servers::take_over(&mut system, &SETTINGS).await;
        let mail = MailServer::start(system.home()).await;
        let listen = free_address().to_string();
        let mut sandbox = system.tickbell();
        sandbox.arg("coinnews").envs(SETTINGS).env("TICKBELL_COINNEWS__LISTEN", &listen);
        let coinnews = system.spawn("coinnews", &mut sandbox);
        let source = format!("coinnews:http://{listen}");
        let mut cluster = Self { instances: Vec::new(), servers, mail, system, source, _coinnews: coinnews };
        for role in Role::ALL {
            for number in 1..=2 {
                let instance = cluster.instance(role, number).await;
                cluster.instances.push(instance);
                cluster.start_instance(cluster.instances.len() - 1);
            }
        }
        for instance in &mut cluster.instances {
            let service = instance.service.as_mut().expect("it was started");
            wait_until(&format!("{} is ready", instance.name), START, async || {
                assert_eq!(service.ended(), None, "{} has ended", instance.name);
                service.is_ready().await.then_some(())
            })
            .await;
        }
        cluster
    }

    async fn instance(&self, role: Role, number: usize) -> Instance {
        Instance {
            role,
            name: format!("{role}-{number}"),
            addresses: Addresses::free(),
            nats: Proxy::start(self.servers.address(Server::Nats)).await,
            postgres: Proxy::start(self.servers.address(Server::Postgres)).await,
            mail: Proxy::start(self.mail.address()).await,
            service: None,
            frozen: None,
        }
    }

    /// Starts an instance that does not run.
    pub(crate) fn start_instance(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        let settings = [
            self.servers.url_at(Server::Nats, instance.nats.address()),
            self.servers.url_at(Server::Postgres, instance.postgres.address()),
            ("TICKBELL_SMTP__URL", format!("smtp://{}", instance.mail.address())),
        ];
        let mut arguments = vec![instance.role.name()];
        if instance.role == Role::PriceIngestor {
            arguments.extend(["--source", &self.source]);
        }
        let service = self.servers.start_at(&self.system, &instance.name, &arguments, instance.addresses, &settings);
        instance.service = Some(service);
    }

    /// Starts instances again that have ended by themselves, and returns what became of them.
    pub(crate) fn supervise(&mut self) -> Vec<String> {
        let mut ends = Vec::new();
        for index in 0..self.instances.len() {
            let instance = &mut self.instances[index];
            if let Some(status) = instance.service.as_mut().and_then(Service::ended) {
                ends.push(format!("{} ended by itself with {status}", instance.name));
                self.start_instance(index);
            }
        }
        ends
    }

    /// Lets each instance run, with connections that pass everything.
    pub(crate) fn heal(&mut self) {
        self.mail.accept_again();
        for index in 0..self.instances.len() {
            let instance = &mut self.instances[index];
            instance.frozen = None;
            for proxy in [&instance.nats, &instance.postgres, &instance.mail] {
                proxy.heal();
            }
            if instance.service.is_none() {
                self.start_instance(index);
            }
        }
    }
}
