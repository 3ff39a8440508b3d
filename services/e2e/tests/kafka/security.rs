//! Connections that are encrypted and authenticated.

use std::fs;

use e2e::{System, process::free_address, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::{
    TICKS, WORK,
    broker::{Kafka, KafkaConsumer},
    event_ids, page, start_bridge, tick_ids,
};

const PASSWORD: &str = "a password with spaces = and more";

/// Writes the certificate authority `ca.pem`, and what a broker at 127.0.0.1 has: its key and its certificate, `broker.pem`.
fn write_certificates(system: &System) {
    let named = |name: &str, addresses: &[&str]| {
        let addresses: Vec<String> = addresses.iter().map(|address| (*address).to_owned()).collect();
        let mut parameters = CertificateParams::new(addresses).expect("names");
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters
    };
    let (ca_key, broker_key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut ca = named("the authority of this test", &[]);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_certificate = ca.self_signed(&ca_key).expect("a certificate");
    let issuer = Issuer::new(ca, ca_key);
    let broker = named("broker", &["127.0.0.1", "localhost"]).signed_by(&broker_key, &issuer).expect("a certificate");
    fs::write(system.home().join("ca.pem"), ca_certificate.pem()).expect("a file");
    fs::write(system.home().join("broker.pem"), broker_key.serialize_pem() + &broker.pem()).expect("a file");
    fs::write(system.home().join("password"), format!("{PASSWORD}\n")).expect("a file");
    fs::write(system.home().join("wrong-password"), "another password").expect("a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_who_it_says_and_a_wrong_password_mirrors_nothing() {
    e2e::process::use_complete_build();
    let mut system = System::start().await;
    let servers = e2e::Servers::take_over(&mut system, &[]).await;
    write_certificates(&system);
    let (tls, sasl) = (free_address(), free_address());
    let file = |name: &str| system.home().join(name).display().to_string();
    let listeners = format!("SSL://{tls},SASL_SSL://{sasl}");
    let settings = [
        ("listeners", listeners.clone()),
        ("advertised.listeners", listeners),
        ("ssl.keystore.type", "PEM".to_owned()),
        ("ssl.keystore.location", file("broker.pem")),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512".to_owned()),
        (
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;".to_owned(),
        ),
    ];
    let kafka = Kafka::start_with_user(&system, &settings, "bridge", PASSWORD).await;
    let encrypted = |address: std::net::SocketAddr, security: &str| {
        vec![
            ("TICKBELL_KAFKA__BROKERS", address.to_string()),
            ("TICKBELL_KAFKA__SECURITY", security.to_owned()),
            ("TICKBELL_KAFKA__CA", file("ca.pem")),
        ]
    };
    let authenticated = |password: &str| {
        let identity =
            [("TICKBELL_KAFKA__USERNAME", "bridge".to_owned()), ("TICKBELL_KAFKA__PASSWORD_FILE", file(password))];
        [encrypted(sasl, "sasl-tls"), identity.to_vec()].concat()
    };
    let broker = servers.try_broker().await.expect("JetStream");
    broker.publish(&[page("SPY", 0..9)]).await.expect("published");

    let wrong = start_bridge(&system, &servers, &kafka, "wrong", &authenticated("wrong-password"));
    let failing = async || {
        let answer = e2e::Api::try_send(wrong.admin.request(reqwest::Method::GET, "/readyz")).await?;
        answer.text.contains("failing").then_some(answer.text)
    };
    wait_until("the bridge is not ready", WORK, failing).await;
    wrong.kill();

    let consumer = KafkaConsumer::start(
        &system,
        "consumer",
        &json!({
            "bootstrap.servers": sasl.to_string(), "security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "bridge", "sasl.password": PASSWORD, "ssl.ca.location": file("ca.pem"),
        }),
        &[TICKS],
    );
    for (name, settings, ids) in [("sasl", authenticated("password"), 9), ("tls", encrypted(tls, "tls"), 20)] {
        let bridge = start_bridge(&system, &servers, &kafka, name, &settings);
        bridge.wait_until_ready().await;
        let records = wait_until("the ticks are in Kafka", WORK, async || {
            let records = consumer.records();
            (records.len() >= ids).then_some(records)
        })
        .await;
        assert_eq!(event_ids(&records), tick_ids(0..ids as u64), "{name}");
        bridge.stop().await;
        broker.publish(&[page("SPY", 9..20)]).await.expect("published");
    }
    for name in ["wrong", "sasl", "tls"] {
        let log = fs::read_to_string(system.home().join(format!("{name}.log"))).expect("a log");
        assert!(!log.contains(PASSWORD) && !log.contains("another password"), "{name} logs a password");
    }
}
