//! The list of all services.

use super::{
    alert_engine, archiver, coinnews, descriptor::Service, gateway, history_writer, kafka_bridge, notifier,
    price_ingestor, trade_settler,
};

/// All services in the order in which data flows through them.
///
/// `tickbell status` reads their lag in this order, so that a message cannot move from a service that is not read yet
/// into one that has been read, and be counted nowhere.
pub(crate) const SERVICES: &[&Service] = &[
    &gateway::SERVICE,
    &price_ingestor::SERVICE,
    &history_writer::SERVICE,
    &alert_engine::SERVICE,
    &trade_settler::SERVICE,
    &notifier::SERVICE,
    &archiver::SERVICE,
    &kafka_bridge::SERVICE,
    &coinnews::SERVICE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::streams::Topology;

    use super::*;

    #[test]
    fn every_declared_subject_has_a_publisher() {
        let first = |subject: &str| subject.split('.').next().map(str::to_owned);
        let published: BTreeSet<_> = SERVICES.iter().flat_map(|service| service.publishes).map(|s| first(s)).collect();
        let topology = Topology::declared().expect("streams.yaml");
        let declared = topology.streams.values().flat_map(|stream| &stream.subjects).map(|s| first(s)).collect();
        assert_eq!(published, declared, "schemas/streams.yaml and the descriptors of the services differ");
    }

    #[test]
    fn the_broker_lets_each_service_publish_what_its_descriptor_names() {
        let users = include_str!("../../../../infra/nats/users.conf");
        for service in SERVICES.iter().filter(|service| !service.publishes.is_empty()) {
            let user = users.split("user: ").find(|text| text.starts_with(&format!("{},", service.name)));
            let user = user.unwrap_or_else(|| panic!("{} is no user of the broker", service.name));
            // Every second part is between quotation marks.
            let (publish, _) = user.split_once("subscribe:").expect("the replies");
            let subjects = publish.split('"').skip(1).step_by(2);
            let events: BTreeSet<_> = subjects.filter(|subject| !subject.starts_with('$')).collect();
            assert_eq!(events, service.publishes.iter().copied().collect(), "{}", service.name);
        }
    }
}
