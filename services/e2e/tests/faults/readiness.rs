//! What every instance says at `/readyz`, the whole time.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use e2e::Api;
use reqwest::Method;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, Role};

const POLL_EVERY: Duration = Duration::from_millis(250);
const ANSWER: Duration = Duration::from_secs(1);

/// The answer of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// There is no answer.
    Silent,
    /// It says that it is not ready, and why.
    Unready(String),
    /// It is ready, and says what it cannot do.
    Degraded(String),
    /// It is ready to take over from another instance.
    Standby,
    /// It is ready and works.
    Ready,
}

/// The answers of all instances, which a task for each of them keeps up to date.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Mutex<Answers>>);

struct Answers {
    began: Instant,
    instances: Vec<Watched>,
    /// The last time at which no instance of a role said that it is ready.
    unready: BTreeMap<Role, Instant>,
    log: File,
}

struct Watched {
    role: Role,
    name: String,
    api: Api,
    answer: Answer,
}

impl Answer {
    /// Whether it promises that the role works, by this instance or by the one that it stands by for.
    pub(crate) fn promises(&self) -> bool {
        matches!(self, Self::Ready | Self::Standby)
    }
}

impl Readiness {
    /// Begins to ask every instance.
    pub(crate) fn watch(cluster: &Cluster, began: Instant) -> Self {
        let log = File::create(cluster.system.home().join("readiness.log")).expect("a file");
        let watched = cluster.instances.iter().map(|instance| Watched {
            role: instance.role,
            name: instance.name.clone(),
            api: instance.addresses.apis()[1].clone(),
            answer: Answer::Silent,
        });
        let unready = Role::ALL.map(|role| (role, Instant::now())).into();
        let all = Self(Arc::new(Mutex::new(Answers { began, instances: watched.collect(), unready, log })));
        for (index, instance) in cluster.instances.iter().enumerate() {
            tokio::spawn(all.clone().poll(index, instance.addresses.apis()[0].clone()));
        }
        all
    }

    async fn poll(self, index: usize, admin: Api) {
        loop {
            let asked = timeout(ANSWER, Api::try_send(admin.request(Method::GET, "/readyz"))).await;
            let answer = asked.ok().flatten().map_or(Answer::Silent, |answer| read(answer.status, &answer.text));
            self.answers().set(index, answer);
            sleep(POLL_EVERY).await;
        }
    }

    /// Returns the last time at which one of the roles did not say that it is ready.
    pub(crate) fn last_unready(&self, roles: &[Role]) -> Instant {
        let answers = self.answers();
        roles.iter().map(|role| answers.unready[role]).max().expect("a role")
    }

    /// Returns whether every instance says that it is ready.
    pub(crate) fn is_complete(&self) -> bool {
        self.answers().instances.iter().all(|instance| instance.answer.promises())
    }

    /// Returns the answer of an instance.
    pub(crate) fn answer(&self, index: usize) -> Answer {
        self.answers().instances[index].answer.clone()
    }

    /// Returns the APIs of the gateways, those first that say that they are ready.
    pub(crate) fn gateways(&self) -> Vec<Api> {
        let answers = self.answers();
        let mut gateways: Vec<&Watched> =
            answers.instances.iter().filter(|instance| instance.role == Role::Gateway).collect();
        gateways.sort_by_key(|gateway| !gateway.answer.promises());
        gateways.into_iter().map(|gateway| gateway.api.clone()).collect()
    }

    /// Returns the answers of the roles' instances, for a message.
    pub(crate) fn describe(&self, roles: &[Role]) -> String {
        let answers = self.answers();
        let of_roles = answers.instances.iter().filter(|instance| roles.contains(&instance.role));
        of_roles.map(|instance| format!("{}: {:?}", instance.name, instance.answer)).collect::<Vec<_>>().join(", ")
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    fn set(&mut self, index: usize, answer: Answer) {
        let instance = &mut self.instances[index];
        if instance.answer != answer {
            let seconds = self.began.elapsed().as_secs_f32();
            writeln!(self.log, "{seconds:8.2} s  {}: {answer:?}", instance.name).expect("the log is written");
        }
        instance.answer = answer;
        let role = instance.role;
        if !self.instances.iter().any(|instance| instance.role == role && instance.answer.promises()) {
            self.unready.insert(role, Instant::now());
        }
    }
}

fn read(status: u16, body: &str) -> Answer {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let checks = body["checks"].as_object().cloned().unwrap_or_default();
    let in_state = |state: &str| checks.iter().find(|(_, check)| check["state"] == state);
    let with_detail = |(name, check): (&String, &Value)| format!("{name}: {}", check["detail"]);
    if status != 200 {
        let failing = in_state("failing").or_else(|| in_state("starting"));
        return Answer::Unready(failing.map(with_detail).unwrap_or_default());
    }
    match (in_state("degraded"), in_state("standby")) {
        (Some(degraded), _) => Answer::Degraded(with_detail(degraded)),
        (None, Some(_)) => Answer::Standby,
        (None, None) => Answer::Ready,
    }
}
