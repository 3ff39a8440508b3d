//! A server that stands in for a venue: WebSocket and REST, over real sockets, with faults that a test asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{Response, StatusCode, header},
};
use futures::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::{
    market::{Market, MarketTrade},
    venues::Protocol,
};

/// The most trades of a page that the venues document here.
const PAGE: usize = 1_000;
/// The delay of the answers of [`Rest::Slow`].
const LATE: Duration = Duration::from_millis(60);

/// How the server treats those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    /// 429 on connect.
    TooMany,
    /// The connection is closed at once.
    Closed,
}

/// How the REST API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Up,
    Down,
    TooMany,
    Forbidden,
    Redirect,
    NoJson,
    /// It answers late, with what there was when it was asked.
    Slow,
    /// It answers when another way is set, with what there was when it was asked.
    Held,
    /// It has no past trades.
    NotFound,
    /// It does not offer trades yet that are younger than this.
    Behind(Duration),
}

/// What a connection does next.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// Sends these messages, where the product is subscribed.
    Send {
        product: String,
        messages: Vec<String>,
    },
    /// Sends text as it is.
    Text(String),
    Binary(Vec<u8>),
    /// Sends the beginning of a frame and closes the connection.
    CutMidFrame,
    Close,
    /// Says nothing more, and does not close.
    Hang,
}

#[derive(Default)]
struct State {
    market: Market,
    connections: BTreeMap<u64, mpsc::Sender<Command>>,
    subscribed: BTreeMap<u64, BTreeSet<String>>,
    next_connection: u64,
    door: Option<Door>,
    rest: Option<Rest>,
    /// How often past trades were asked for.
    requests: usize,
}

/// A server of one protocol.
#[derive(Clone)]
pub(crate) struct Server {
    protocol: Protocol,
    state: Arc<Mutex<State>>,
    held: Arc<watch::Sender<bool>>,
    pub(crate) ws_port: u16,
    pub(crate) rest_port: u16,
}

impl Server {
    /// Starts to listen. The tasks are those of the server.
    pub(crate) async fn start(protocol: Protocol, tasks: &mut JoinSet<()>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let ws_port = listener.local_addr().expect("an address").port();
        let rest_listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let rest_port = rest_listener.local_addr().expect("an address").port();
        let server = Self { protocol, state: Arc::default(), held: Arc::default(), ws_port, rest_port };
        let accepting = server.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                connections.spawn(accepting.clone().serve(stream));
                while connections.try_join_next().is_some() {}
            }
        });
        let answering = server.clone();
        let router = Router::new().fallback(move |request: Request| {
            let answer = answering.answer(&request);
            let rest = answering.lock().rest;
            let mut held = answering.held.subscribe();
            async move {
                match rest {
                    Some(Rest::Slow) => sleep(LATE).await,
                    Some(Rest::Held) => drop(held.wait_for(|held| !held).await),
                    _ => {}
                }
                answer
            }
        });
        tasks.spawn(async move { axum::serve(rest_listener, router).await.expect("a server") });
        server
    }

    pub(crate) fn set_door(&self, door: Door) {
        self.lock().door = Some(door);
    }

    pub(crate) fn set_rest(&self, rest: Rest) {
        self.lock().rest = Some(rest);
        self.held.send_replace(rest == Rest::Held);
    }

    /// Returns how often past trades were asked for.
    pub(crate) fn requests(&self) -> usize {
        self.lock().requests
    }

    /// Reads or changes the market.
    pub(crate) fn market<T>(&self, read: impl FnOnce(&mut Market) -> T) -> T {
        read(&mut self.lock().market)
    }

    /// Gives a command to every connection; returns how many there are.
    pub(crate) async fn command(&self, command: &Command) -> usize {
        let connections: Vec<_> = self.lock().connections.values().cloned().collect();
        for connection in &connections {
            // A connection that has ended meanwhile does nothing more.
            let _ = connection.send(command.clone()).await;
        }
        connections.len()
    }

    /// Returns whether a connection has subscribed a product.
    pub(crate) fn is_subscribed(&self, product: &str) -> bool {
        self.lock().subscribed.values().any(|products| products.contains(product))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no panic before")
    }

    async fn serve(self, mut stream: TcpStream) {
        let door = self.lock().door.unwrap_or(Door::Open);
        match door {
            Door::Open => {}
            Door::Closed => return,
            Door::TooMany => {
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n").await;
                return;
            }
        }
        let Ok(socket) = accept_async(stream).await else { return };
        let (sender, commands) = mpsc::channel(1_024);
        let number = {
            let mut state = self.lock();
            state.next_connection += 1;
            let number = state.next_connection;
            state.connections.insert(number, sender);
            number
        };
        self.talk(number, socket, commands).await;
        let mut state = self.lock();
        state.connections.remove(&number);
        state.subscribed.remove(&number);
    }

    async fn talk(&self, number: u64, mut socket: WebSocketStream<TcpStream>, mut commands: mpsc::Receiver<Command>) {
        let mut heartbeats = interval(Duration::from_millis(40));
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut products: BTreeSet<String> = BTreeSet::new();
        loop {
            let outgoing: Vec<Message> = tokio::select! {
                received = socket.next() => match received {
                    Some(Ok(Message::Text(text))) => {
                        let answers = self.protocol.answer(text.as_str(), &mut products);
                        self.lock().subscribed.insert(number, products.clone());
                        answers.into_iter().map(Message::text).collect()
                    }
                    Some(Ok(_)) => Vec::new(),
                    _ => return,
                },
                _ = heartbeats.tick() => self.heartbeats(&products),
                command = commands.recv() => match command {
                    Some(Command::Send { product, messages, .. }) if products.contains(&product) => {
                        messages.into_iter().map(Message::text).collect()
                    }
                    Some(Command::Send { .. }) => Vec::new(),
                    Some(Command::Text(text)) => vec![Message::text(text)],
                    Some(Command::Binary(bytes)) => vec![Message::binary(bytes)],
                    Some(Command::CutMidFrame) => {
                        let _ = socket.get_mut().write_all(&[0x81, 0x7e, 0x40, 0x00, b'{', b'"']).await;
                        return;
                    }
                    Some(Command::Close) | None => {
                        let _ = socket.close(None).await;
                        return;
                    }
                    Some(Command::Hang) => {
                        self.lock().subscribed.remove(&number);
                        // It reads until the client goes, and says nothing.
                        let mut ignored = [0; 1_024];
                        while socket.get_mut().read(&mut ignored).await.is_ok_and(|read| read > 0) {}
                        return;
                    }
                },
            };
            for message in outgoing {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    }

    fn heartbeats(&self, products: &BTreeSet<String>) -> Vec<Message> {
        let state = self.lock();
        let last = |product: &String| state.market.trades.get(product)?.last().map(|trade| trade.id);
        let texts = products.iter().filter_map(|product| self.protocol.heartbeat(product, last(product)));
        let texts: Vec<Message> = texts.map(Message::text).collect();
        // A venue without heartbeats pings.
        if texts.is_empty() { vec![Message::Ping(vec![1, 2, 3].into())] } else { texts }
    }

    fn answer(&self, request: &Request) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let query: Vec<(String, String)> = request
            .uri()
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let mut state = self.lock();
        let answer = |status: StatusCode, body: String| {
            Response::builder()
                .status(status)
                .header(header::RETRY_AFTER, "0")
                .body(Body::from(body))
                .expect("an answer")
        };
        let Some(product) = self.protocol.asked_product(&path, &query) else {
            return answer(StatusCode::OK, self.protocol.products().to_string());
        };
        state.requests += 1;
        match state.rest.unwrap_or(Rest::Up) {
            Rest::Up | Rest::Slow | Rest::Held => {
                answer(StatusCode::OK, self.protocol.past(&state.market.offered(&product), &query, PAGE))
            }
            Rest::Behind(lag) => {
                let offered = state.market.offered_behind(&product, lag);
                answer(StatusCode::OK, self.protocol.past(&offered, &query, PAGE))
            }
            Rest::Down => answer(StatusCode::SERVICE_UNAVAILABLE, String::new()),
            Rest::TooMany => answer(StatusCode::TOO_MANY_REQUESTS, String::new()),
            Rest::NotFound => answer(StatusCode::NOT_FOUND, String::new()),
            Rest::Forbidden => answer(StatusCode::FORBIDDEN, String::new()),
            Rest::NoJson => answer(StatusCode::OK, "<html>".to_owned()),
            Rest::Redirect => {
                // To itself, for ever.
                let to = request.uri().to_string();
                let builder = Response::builder().status(StatusCode::FOUND).header(header::LOCATION, to);
                builder.body(Body::empty()).expect("an answer")
            }
        }
    }

    /// Sends trades as live messages.
    pub(crate) async fn send(&self, product: &str, trades: &[MarketTrade]) {
        let messages = self.protocol.live(product, trades);
        self.command(&Command::Send { product: product.to_owned(), messages }).await;
    }
}
