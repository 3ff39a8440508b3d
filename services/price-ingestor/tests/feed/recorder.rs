//! The recorder against the server that stands in for a venue: what the venue sends is on the tape, over a connection that is
//! cut, and plays as the trades that they are.

use std::{collections::BTreeMap, path::Path, time::Duration};

use market_data::MaxAhead;
use platform::{Shutdown, clock};
use price_ingestor::{
    Settings,
    sources::{
        exchange::venues::ExchangeName,
        tape::{Played, Player, Recorder, TapeLimits, TapeOptions},
    },
};
use tokio::{task::JoinSet, time::interval};

use crate::{
    server::{Command, Server},
    venues::{PROTOCOLS, Protocol, SYMBOLS},
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Price, size and microseconds of trades, by symbol and id.
type Trades = BTreeMap<(String, u64), (String, String, i64)>;

/// Returns the trades of a tape, and the number of bad messages.
fn played(folder: &Path) -> (Trades, usize) {
    let options =
        TapeOptions { path: folder.to_owned(), exchange: None, publish_as: None, max_ahead: MaxAhead::DEFAULT };
    let (mut trades, mut bad) = (Trades::new(), 0);
    // There is no file before the first message.
    let Ok(mut player) = Player::open(options) else { return (trades, bad) };
    while let Some(played) = player.play_next().expect("a line") {
        match played {
            Played::Ticks { ticks, refused, .. } => {
                assert_eq!(refused, 0, "each product has a symbol");
                for (tick, id) in ticks {
                    let size = tick.size.expect("a size").to_string();
                    let trade = (tick.price.to_string(), size, tick.at.micros());
                    trades.insert((tick.symbol.to_string(), id.parse().expect("a number")), trade);
                }
            }
            Played::Bad(..) => bad += 1,
            Played::NoLine => panic!("each line is one of a tape"),
        }
    }
    (trades, bad)
}

async fn record(protocol: Protocol) {
    let mut tasks = JoinSet::new();
    let server = Server::start(protocol, &mut tasks).await;
    let folder = tempfile::tempdir().expect("a folder");
    let name = protocol.venue();
    let urls = format!("{name}=ws://127.0.0.1:{},http://127.0.0.1:{}", server.ws_port, server.rest_port);
    let settings = Settings {
        symbols: SYMBOLS.join(",").parse().expect("symbols"),
        venue_url: Some(urls.parse().expect("addresses")),
        ..Settings::default()
    };
    let exchange = ExchangeName::parse(name).expect("an exchange");
    let configs = settings.feed_configs(&[exchange], MaxAhead::DEFAULT).expect("settings");
    let limits = TapeLimits { file_bytes: 500, file_age: Duration::from_secs(3_600), total_bytes: 100 << 20 };
    let stop = Shutdown::new();
    let recorder = Recorder::open(folder.path(), limits, clock::now).expect("a recorder");
    let recording = recorder.run(configs, &stop, |_| {});
    let product = protocol.product(SYMBOLS[0]);
    let market = async {
        let mut timer = interval(Duration::from_millis(20));
        let mut now = clock::now().micros() / 1_000_000 * 1_000_000 - 3_600_000_000;
        let mut sent = Vec::new();
        loop {
            timer.tick().await;
            if !server.is_subscribed(&product) {
                continue;
            }
            now += protocol.grain() * 1_000;
            let trade = server.market(|market| market.trade(&product, now));
            server.send(&product, std::slice::from_ref(&trade)).await;
            sent.push(trade);
            // Half of it before a cut, and half after it.
            if sent.len() == 50 {
                server.command(&Command::Text("{\"type\":".to_owned())).await;
                server.command(&Command::CutMidFrame).await;
            }
            if sent.len() > 60
                && sent.len() % 25 == 0
                && played(folder.path()).0.keys().any(|(_, id)| *id > sent[60].id)
            {
                break sent;
            }
        }
    };
    let stopping = async {
        let sent = tokio::time::timeout(DEADLINE, market).await.expect("the recorder follows the venue again");
        stop.cancel();
        sent
    };
    let (status, sent) = tokio::join!(recording, stopping);
    let status = status.expect("a recording");
    let (trades, bad) = played(folder.path());
    assert_eq!((status.lost, bad), (0, 1), "{status:?}");
    assert!(status.totals.files > 1 && status.bad_messages == 1, "{status:?}");
    let all: BTreeMap<u64, _> =
        sent.iter().map(|trade| (trade.id, (trade.price.clone(), trade.size.clone(), trade.at))).collect();
    for ((symbol, id), trade) in &trades {
        assert_eq!((symbol.as_str(), all.get(id)), (SYMBOLS[0], Some(trade)));
    }
    let missing = sent.iter().take(50).filter(|trade| !trades.contains_key(&(SYMBOLS[0].to_owned(), trade.id))).count();
    assert_eq!(missing, 0, "all trades before the cut are on the tape");
    tasks.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_venue_sends_is_on_the_tape_and_plays_as_it_was() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for protocol in PROTOCOLS {
        record(protocol).await;
    }
}
