//! Which faults are injected together: a list that is always the same, and compositions that follow from a seed.

use std::{fmt, time::Duration};

use e2e::{Silence, system::Server};
use rand::{RngExt, rngs::StdRng};

use crate::{
    cluster::Role,
    fault::{CONSUMERS, Fault, STREAMS, Target, Which},
};

const SILENCES: [Silence; 3] = [Silence::BOTH, Silence::TO_SERVER, Silence::TO_CLIENT];
/// The longest delay of what passes in a direction, with which a round trip takes as long as between continents. A new alert
/// needs about twenty until its mail is sent.
const LONGEST_DELAY: Duration = Duration::from_millis(100);
const SERVERS: [Server; 2] = [Server::Postgres, Server::Nats];
/// The roles of which one instance leads, by what they read.
const CONSUMING: [Role; 4] = [Role::HistoryWriter, Role::AlertEngine, Role::TradeSettler, Role::Notifier];

/// Faults that are injected together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) faults: Vec<Fault>,
    /// The least time from the last of them to their end.
    pub(crate) lasts: Duration,
}

impl Step {
    fn new(fault: Fault, seconds: u64) -> Self {
        Self { faults: vec![fault], lasts: Duration::from_secs(seconds) }
    }

    /// Whether the services must work again while it lasts.
    pub(crate) fn is_survivable(&self) -> bool {
        let roles: Vec<Role> = self.faults.iter().filter_map(|fault| fault.role()).collect();
        let is_repeated = |role: &Role| roles.iter().filter(|other| *other == role).count() > 1;
        self.faults.iter().all(|fault| fault.is_survivable()) && !roles.iter().any(is_repeated)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> = self.faults.iter().map(Fault::to_string).collect();
        f.write_str(&faults.join(" + "))
    }
}

/// Every kind of fault once, those of connections for every role.
pub(crate) fn rows() -> Vec<Step> {
    let mut rows = Vec::new();
    for role in Role::ALL {
        rows.push(Step::new(Fault::Kill(leading(role)), 0));
    }
    for server in SERVERS {
        for role in Role::ALL.into_iter().filter(|role| uses(*role, server)) {
            rows.push(Step::new(Fault::Lose(leading(role), server, Silence::BOTH), 0));
        }
        for (role, silence) in CONSUMING.into_iter().zip(SILENCES.into_iter().cycle()) {
            rows.push(Step::new(Fault::Hold(leading(role), server, silence), 0));
        }
        rows.push(Step::new(Fault::Hold(leading(Role::Gateway), server, Silence::BOTH), 0));
        rows.push(Step::new(Fault::Reset(leading(Role::TradeSettler), server), 0));
        rows.push(Step::new(Fault::Delay(leading(Role::AlertEngine), server, LONGEST_DELAY), 5));
        rows.push(Step::new(Fault::HoldServer(server, Silence::BOTH), 15));
        rows.push(Step::new(Fault::PauseServer(server), 15));
        rows.push(Step::new(Fault::KillServer(server), 5));
    }
    for role in CONSUMING {
        rows.push(Step::new(Fault::Pause(leading(role)), 0));
    }
    for (role, server) in CONSUMING.into_iter().chain([Role::Gateway]).zip(SERVERS.into_iter().cycle()) {
        let leaves = vec![Fault::Hold(leading(role), server, Silence::BOTH), Fault::Leave(leading(role))];
        rows.push(Step { faults: leaves, lasts: Duration::ZERO });
    }
    rows.extend((0..CONSUMERS.len()).map(|number| Step::new(Fault::DeleteConsumer(number), 0)));
    rows.extend((0..STREAMS.len()).map(|number| Step::new(Fault::RenewStream(number), 0)));
    rows.push(Step::new(Fault::PutBack, 0));
    rows.push(Step::new(Fault::Hostile, 0));
    rows.push(Step::new(Fault::Repeat, 0));
    rows.push(Step::new(Fault::Late, 2));
    for role in [Role::HistoryWriter, Role::AlertEngine, Role::Notifier] {
        rows.push(Step { faults: vec![Fault::Late, Fault::Kill(leading(role))], lasts: Duration::ZERO });
    }
    rows.push(Step::new(Fault::HoldMail, 12));
    rows.push(Step::new(Fault::RefuseMail, 12));
    rows.push(Step::new(Fault::DelayMail(Duration::from_millis(500)), 8));
    rows
}

/// A few of them, for every change.
pub(crate) fn short() -> Vec<Step> {
    vec![
        Step::new(Fault::Lose(leading(Role::TradeSettler), Server::Postgres, Silence::BOTH), 0),
        Step::new(Fault::Lose(leading(Role::HistoryWriter), Server::Nats, Silence::TO_CLIENT), 0),
        Step::new(Fault::DeleteConsumer(1), 0),
        Step { faults: vec![Fault::Late, Fault::Kill(leading(Role::AlertEngine))], lasts: Duration::ZERO },
        Step::new(Fault::KillServer(Server::Nats), 2),
    ]
}

/// A composition, of which none lasts long.
pub(crate) fn random(random: &mut StdRng) -> Step {
    let count = [1, 1, 2, 2, 3][random.random_range(0..5)];
    let mut faults: Vec<Fault> = Vec::new();
    while faults.len() < count {
        let fault = random_fault(random);
        // One that needs that nothing is under way is injected alone.
        if fault.needs_quiet() {
            faults = vec![fault];
            break;
        }
        // A server that is gone twice would have to be started twice, and an instance ends once.
        if faults.iter().all(|other| other.kind() != fault.kind() && !conflict(*other, fault)) {
            faults.push(fault);
        }
    }
    Step { faults, lasts: Duration::from_secs(random.random_range(2..=12)) }
}

fn random_fault(random: &mut StdRng) -> Fault {
    let which = if random.random_range(0..4) > 0 { Which::Leader } else { Which::Other };
    let role = Role::ALL[random.random_range(0..Role::ALL.len())];
    let mut server = SERVERS[random.random_range(0..SERVERS.len())];
    if !uses(role, server) {
        server = Server::Nats;
    }
    let silence = SILENCES[random.random_range(0..SILENCES.len())];
    let delay = random.random_range(Duration::from_millis(20)..=LONGEST_DELAY);
    let target = Target { role, which };
    match random.random_range(0..42) {
        0..6 => Fault::Kill(target),
        6..9 => Fault::Pause(target),
        9..11 => Fault::Leave(target),
        11..14 => Fault::Reset(target, server),
        14..18 => Fault::Lose(target, server, silence),
        18..22 => Fault::Hold(target, server, silence),
        22..24 => Fault::Delay(target, server, delay),
        24..26 => Fault::KillServer(server),
        26 => Fault::PauseServer(server),
        27 => Fault::HoldServer(server, silence),
        28..31 => Fault::DeleteConsumer(random.random_range(0..CONSUMERS.len())),
        31 => Fault::RenewStream(random.random_range(0..STREAMS.len())),
        32 => Fault::PutBack,
        33..35 => Fault::Hostile,
        35..37 => Fault::Repeat,
        37 => Fault::HoldMail,
        38 => Fault::DelayMail(delay),
        39..41 => Fault::Late,
        _ => Fault::RefuseMail,
    }
}

fn leading(role: Role) -> Target {
    Target { role, which: Which::Leader }
}

/// Whether a role has connections to a server.
fn uses(role: Role, server: Server) -> bool {
    server == Server::Nats || role != Role::PriceIngestor
}

/// Whether two faults cannot be injected together: who deletes a consumer needs the broker.
fn conflict(one: Fault, other: Fault) -> bool {
    let needs_broker = |fault| matches!(fault, Fault::DeleteConsumer(_) | Fault::Hostile);
    let takes_a_server = |fault| matches!(fault, Fault::KillServer(_) | Fault::PauseServer(_) | Fault::HoldServer(..));
    takes_a_server(one) && (takes_a_server(other) || needs_broker(other)) || needs_broker(one) && takes_a_server(other)
}
