//! The faults that are injected, and how each ends.

use std::{fmt, time::Duration};

use e2e::{
    Process, RawNats, Silence,
    process::Frozen,
    system::{Server, StreamFiles},
    wait_until,
};

use crate::{
    cluster::{Cluster, Instance, Role},
    machine::factor,
    readiness::{Answer, Readiness},
    record::Record,
};

/// A service must be gone this soon after it was asked to stop.
const LEAVE: Duration = Duration::from_secs(10);
/// The default of `gateway.drain_seconds`, for which a gateway lets requests in flight finish before that.
const DRAIN: Duration = Duration::from_secs(5);
const COMMAND: Duration = Duration::from_secs(30);
/// The consumers that a service reads by.
pub(crate) const CONSUMERS: [(&str, &str); 11] = [
    ("TICKS", "history-writer"),
    ("TICKS", "alert-engine"),
    ("RULES", "alert-engine-rules"),
    ("FEEDS", "alert-engine-feeds"),
    ("TICKS", "trade-settler"),
    ("ORDERS", "trade-settler-orders"),
    ("ALERTS", "trade-settler-alerts"),
    ("ALERTS", "notifier"),
    ("RULES", "notifier-rules"),
    ("TRADES", "notifier-trades"),
    ("USERS", "notifier-users"),
];
/// The streams that are read.
pub(crate) const STREAMS: [&str; 7] = ["TICKS", "RULES", "FEEDS", "ORDERS", "ALERTS", "TRADES", "USERS"];

/// An instance of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) role: Role,
    pub(crate) which: Which,
}

/// Which of the two instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that works, or the first of two that both do.
    Leader,
    /// The other one.
    Other,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// A process ends as in a power cut, and is started again.
    Kill(Target),
    /// A process stands still, and goes on later.
    Pause(Target),
    /// A process is asked to stop, and is started again.
    Leave(Target),
    /// The connections of an instance to a server are closed.
    Reset(Target, Server),
    /// The connections of an instance to a server pass nothing more, for ever; new ones do.
    Lose(Target, Server, Silence),
    /// No connection of an instance to a server passes anything, also no new one.
    Hold(Target, Server, Silence),
    /// Whatever passes between an instance and a server is late.
    Delay(Target, Server, Duration),
    /// A server ends as in a power cut, and is started again.
    KillServer(Server),
    /// A server stands still, and goes on later.
    PauseServer(Server),
    /// No connection to a server passes anything.
    HoldServer(Server, Silence),
    /// A consumer is deleted behind the services' back.
    DeleteConsumer(usize),
    /// A stream is deleted, and made anew by an operator's command.
    RenewStream(usize),
    /// The broker loses what it has stored during some seconds.
    PutBack,
    /// Messages arrive that no publisher of ours sends.
    Hostile,
    /// Ticks are stored a second time.
    Repeat,
    /// Trades are missed and filled in when newer ones have been judged.
    Late,
    /// No mail server answers.
    HoldMail,
    /// The mail server answers slowly.
    DelayMail(Duration),
    /// The mail server refuses mails for the moment.
    RefuseMail,
}

/// What is needed to end a fault.
pub(crate) enum Injected {
    /// Healing the cluster ends it, or nothing has to.
    Healed,
    Server(Server),
    Paused {
        _frozen: Frozen,
    },
}

impl Fault {
    /// A short name of its kind, for the table.
    pub(crate) fn kind(self) -> String {
        let of = |server| if server == Server::Nats { "NATS" } else { "PostgreSQL" };
        match self {
            Self::Kill(_) => "a killed process".into(),
            Self::Pause(_) => "a paused process".into(),
            Self::Leave(_) => "a process that leaves".into(),
            Self::Reset(_, server) => format!("reset connections ({})", of(server)),
            Self::Lose(_, server, _) => format!("lost connections ({})", of(server)),
            Self::Hold(_, server, _) => format!("silent connections ({})", of(server)),
            Self::Delay(_, server, _) => format!("slow connections ({})", of(server)),
            Self::KillServer(server) => format!("a killed server ({})", of(server)),
            Self::PauseServer(server) => format!("a paused server ({})", of(server)),
            Self::HoldServer(server, _) => format!("a silent server ({})", of(server)),
            Self::DeleteConsumer(_) => "a deleted consumer".into(),
            Self::RenewStream(_) => "a stream made anew".into(),
            Self::PutBack => "an older copy of the broker".into(),
            Self::Hostile => "hostile messages".into(),
            Self::Repeat => "repeated ticks".into(),
            Self::Late => "trades that come late".into(),
            Self::HoldMail => "a silent mail server".into(),
            Self::DelayMail(_) => "a slow mail server".into(),
            Self::RefuseMail => "a mail server that refuses".into(),
        }
    }

    /// Whether the services must work again while it lasts: another instance or another connection takes over.
    pub(crate) fn is_survivable(self) -> bool {
        !matches!(
            self,
            Self::KillServer(_)
                | Self::PauseServer(_)
                | Self::HoldServer(..)
                | Self::PutBack
                | Self::RenewStream(_)
                | Self::HoldMail
                | Self::DelayMail(_)
                | Self::RefuseMail
        )
    }

    /// The role of the instance that it is about.
    pub(crate) fn role(self) -> Option<Role> {
        match self {
            Self::Kill(target)
            | Self::Pause(target)
            | Self::Leave(target)
            | Self::Reset(target, _)
            | Self::Lose(target, ..)
            | Self::Hold(target, ..)
            | Self::Delay(target, ..) => Some(target.role),
            _ => None,
        }
    }

    /// Whether a server has to start again.
    pub(crate) fn ends_a_server(self) -> bool {
        matches!(self, Self::KillServer(_) | Self::PutBack)
    }

    /// Whether ticks that are not yet read are lost with a stream, so that none may be under way.
    pub(crate) fn needs_quiet(self) -> bool {
        matches!(self, Self::PutBack | Self::RenewStream(_))
    }

    /// Lets it happen.
    pub(crate) async fn inject(self, cluster: &mut Cluster, readiness: &Readiness, record: &Record) -> Injected {
        match self {
            Self::Kill(target) => {
                let index = find(cluster, readiness, target);
                if let Some(service) = cluster.instances[index].service.take() {
                    service.kill();
                }
            }
            Self::Pause(target) => {
                let index = find(cluster, readiness, target);
                let instance = &mut cluster.instances[index];
                instance.frozen = instance.service.as_ref().map(e2e::Service::freeze);
            }
            Self::Leave(target) => {
                let index = find(cluster, readiness, target);
                let instance = &mut cluster.instances[index];
                // A process that stands still cannot leave.
                if instance.frozen.is_none()
                    && let Some(service) = instance.service.take()
                {
                    leave(service.ask_to_stop(), instance, record).await;
                }
            }
            Self::Reset(target, server) => proxy(cluster, readiness, target, server).reset(),
            Self::Lose(target, server, silence) => proxy(cluster, readiness, target, server).lose(silence),
            Self::Hold(target, server, silence) => proxy(cluster, readiness, target, server).hold(silence),
            Self::Delay(target, server, delay) => proxy(cluster, readiness, target, server).delay(delay),
            Self::KillServer(server) => {
                cluster.servers.kill(server);
                return Injected::Server(server);
            }
            Self::PauseServer(server) => return Injected::Paused { _frozen: cluster.servers.freeze(server) },
            Self::HoldServer(server, silence) => {
                for instance in &cluster.instances {
                    let proxy = if server == Server::Nats { &instance.nats } else { &instance.postgres };
                    proxy.hold(silence);
                }
            }
            Self::DeleteConsumer(number) => {
                let (stream, consumer) = CONSUMERS[number];
                cluster.servers.request_broker(&format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}"));
            }
            Self::RenewStream(number) => {
                cluster.servers.request_broker(&format!("$JS.API.STREAM.DELETE.{}", STREAMS[number]));
                let applied =
                    cluster.servers.spawn(&cluster.system, "apply", &["streams", "apply"]).wait(COMMAND).await;
                assert!(applied.success(), "`tickbell streams apply` ended with {applied}");
            }
            Self::PutBack => {}
            Self::Hostile => attack(cluster.servers.nats_url()).await,
            // The feed does it.
            Self::Repeat | Self::Late => {}
            Self::HoldMail => cluster.instances.iter().for_each(|instance| instance.mail.hold(Silence::BOTH)),
            Self::DelayMail(delay) => cluster.instances.iter().for_each(|instance| instance.mail.delay(delay)),
            Self::RefuseMail => cluster.mail.refuse(),
        }
        Injected::Healed
    }
}

/// Puts an older copy of the broker's files back, while the services run.
pub(crate) fn put_back(cluster: &mut Cluster, files: &StreamFiles) {
    cluster.servers.kill(Server::Nats);
    cluster.system.replace_streams(files);
    cluster.servers.start_again(&cluster.system, Server::Nats);
}

impl Injected {
    /// Ends it, as far as healing the cluster does not.
    pub(crate) fn end(self, cluster: &mut Cluster) {
        match self {
            Self::Server(server) => cluster.servers.start_again(&cluster.system, server),
            Self::Healed | Self::Paused { .. } => {}
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(target) => write!(f, "kill {target}"),
            Self::Pause(target) => write!(f, "pause {target}"),
            Self::Leave(target) => write!(f, "stop {target} by SIGTERM"),
            Self::Reset(target, server) => write!(f, "reset the connections of {target} to {server:?}"),
            Self::Lose(target, server, silence) => {
                write!(f, "lose the connections of {target} to {server:?} ({})", direction(*silence))
            }
            Self::Hold(target, server, silence) => {
                write!(f, "let nothing pass between {target} and {server:?} ({})", direction(*silence))
            }
            Self::Delay(target, server, delay) => write!(f, "delay {target} and {server:?} by {delay:?}"),
            Self::KillServer(server) => write!(f, "kill {server:?}"),
            Self::PauseServer(server) => write!(f, "pause {server:?}"),
            Self::HoldServer(server, silence) => {
                write!(f, "let nothing pass between all and {server:?} ({})", direction(*silence))
            }
            Self::DeleteConsumer(number) => write!(f, "delete the consumer {}", CONSUMERS[*number].1),
            Self::RenewStream(number) => write!(f, "delete the stream {} and create it anew", STREAMS[*number]),
            Self::PutBack => write!(f, "put an older copy of the streams back"),
            Self::Hostile => write!(f, "publish hostile messages"),
            Self::Repeat => write!(f, "publish ticks again"),
            Self::Late => write!(f, "miss trades, and fill them in late"),
            Self::HoldMail => write!(f, "let nothing pass to the mail server"),
            Self::DelayMail(delay) => write!(f, "delay the mail server by {delay:?}"),
            Self::RefuseMail => write!(f, "let the mail server refuse mails for the moment"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let which = if self.which == Which::Leader { "leading" } else { "other" };
        write!(f, "the {which} {}", self.role)
    }
}

fn direction(silence: Silence) -> &'static str {
    match silence {
        Silence { to_server: true, to_client: true } => "both ways",
        Silence { to_server: true, .. } => "to the server",
        _ => "to the client",
    }
}

/// Returns the place of an instance in the cluster.
fn find(cluster: &Cluster, readiness: &Readiness, target: Target) -> usize {
    let of_role = |index: &usize| cluster.instances[*index].role == target.role;
    let pair: Vec<usize> = (0..cluster.instances.len()).filter(of_role).collect();
    let leader = pair.iter().position(|index| readiness.answer(*index) == Answer::Ready).unwrap_or(0);
    pair[if target.which == Which::Leader { leader } else { 1 - leader }]
}

fn proxy<'a>(cluster: &'a Cluster, readiness: &Readiness, target: Target, server: Server) -> &'a e2e::Proxy {
    let instance = &cluster.instances[find(cluster, readiness, target)];
    if server == Server::Nats { &instance.nats } else { &instance.postgres }
}

/// Waits until a process that was asked to stop is gone, which must be soon and with status 0.
async fn leave(mut process: Process, Instance { role, name, .. }: &Instance, record: &Record) {
    let limit = LEAVE * factor() + if *role == Role::Gateway { DRAIN } else { Duration::ZERO };
    let asked = tokio::time::Instant::now();
    let ended = wait_until(&format!("{name} leaves"), 6 * LEAVE, async || process.ended()).await;
    let took = asked.elapsed();
    if took > limit || ended.code() != Some(0) {
        record.add_violation(format!("{name} was asked to stop, and ended after {took:.1?} with {ended}"));
    }
}

/// Publishes bodies and headers that are no event to every stream.
async fn attack(url: &str) {
    let mut nats = RawNats::connect(url).await;
    let classes = [
        ("ticks.faults.X-USD", "ticks.v1"),
        ("rules.X-USD.x", "rule-changed.v1"),
        ("orders.X-USD.x", "order-placed.v1"),
        ("alerts.X-USD", "alert-fired.v1"),
        ("trades.X-USD.x", "trade-settled.v1"),
        ("users.x", "user-noticed.v1"),
    ];
    let long = "a".repeat(8_000);
    let bodies = ["", "{}", "null", "[[[[", "\"text\"", "\u{feff}{}", "{\"symbol\":\"X-USD\"}", &long];
    for (subject, class) in classes {
        for body in bodies {
            for headers in
                ["".into(), format!("ce-type: {class}\r\n"), format!("ce-type: {class}\r\nce-id: {long}\r\n")]
            {
                nats.publish(subject.as_bytes(), Some(headers.as_bytes()), body.as_bytes()).await;
            }
        }
    }
    nats.flush().await;
}
