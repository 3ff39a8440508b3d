//! A database administrator changes the ledger by hand: `ledger verify` finds each change and names the row.

use e2e::{Database, System, tape};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

/// The changes: a table, the expression that names a row, the condition on rows, and the columns, where an empty list means
/// all. An order's place in the queue and the tick that it was decided after cannot be verified.
const TABLES: [(&str, &str, &str, &[&str]); 8] = [
    ("accounts", "'account ' || id", "true", &[]),
    ("postings", "'posting ' || id", "true", &[]),
    ("transfers", "'transfer ' || number || ' of posting ' || posting_id", "true", &[]),
    ("trades", "'trade of order ' || order_id", "true", &[]),
    ("order_states", "'state of order ' || order_id", "true", &["order_id", "user_id", "status", "held_asset", "held"]),
    ("orders", "'order ' || id", "true", &["id", "user_id", "terms", "fingerprint"]),
    ("deposits", "'deposit ' || id", "true", &["id", "user_id", "asset", "amount"]),
    ("assets", "'asset ' || code", "code IN ('USD', 'BTC')", &["code", "scale"]),
];

/// Writes without the triggers that would refuse a change, as replication does.
const WITHOUT_TRIGGERS: &str = "SET session_replication_role = replica;";

/// Returns an SQL expression for another value of the column's type.
fn other_value(column: &str, kind: &str) -> String {
    match (column, kind) {
        // Values that the tables' own constraints accept.
        ("kind", _) => "CASE kind WHEN 'hold' THEN 'fill' WHEN 'fill' THEN 'hold' WHEN 'available' THEN 'held'
            WHEN 'held' THEN 'available' WHEN 'house' THEN 'issued' WHEN 'issued' THEN 'house' WHEN 'fees' THEN 'house'
            WHEN 'release' THEN 'hold' WHEN 'deposit' THEN 'fill' END"
            .into(),
        ("side", _) => "CASE side WHEN 'buy' THEN 'sell' ELSE 'buy' END".into(),
        ("status", _) => "CASE status WHEN 'filled' THEN 'cancelled' ELSE 'filled' END".into(),
        ("asset" | "held_asset", _) => format!("CASE {column} WHEN 'USD' THEN 'EUR' ELSE 'USD' END"),
        ("scale", _) => "0".into(),
        ("code", _) => "'OTHER'".into(),
        ("terms", _) => r#"jsonb_set(terms, '{size}', '"7"')"#.into(),
        ("symbol", _) => "'ETH-USD'".into(),
        ("tick_id", _) => "tick_id || '0'".into(),
        (_, "smallint" | "integer" | "bigint") => format!("{column} + 1000"),
        (_, "numeric") => format!("{column} + 0.01"),
        (_, "uuid") => "gen_random_uuid()".into(),
        (_, "timestamp with time zone") => format!("{column} + interval '1 microsecond'"),
        (_, "bytea") => format!("set_byte({column} || '\\x00', 0, (get_byte({column} || '\\x00', 0) + 1) % 256)"),
        (_, other) => panic!("no other value of a {other}"),
    }
}

/// Makes accounts with money, trades, and open orders.
async fn fund_and_trade(system: &System) {
    system.sign_up("ada@example.com").await;
    let token = system.api.sign_in("ada@example.com").await;
    for (amount, asset) in [("10000", "USD"), ("3", "BTC")] {
        let deposit = system.run(&["accounts", "deposit", "ada@example.com", amount, asset]).await;
        assert!(deposit.status.success(), "{deposit:?}");
    }
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "5000"))]).await;
    let mut orders: Vec<Value> = Vec::new();
    for n in 1..=12 {
        let side = if n % 2 == 0 { "buy" } else { "sell" };
        orders.push(json!({ "side": side, "type": "market", "size": format!("0.0{n}") }));
        let price = if n % 2 == 0 { "4000" } else { "6000" };
        orders.push(json!({ "side": side, "type": "limit", "size": "0.01", "price": price }));
    }
    for mut order in orders {
        order["symbol"] = "BTC-USD".into();
        system.api.call_with(&token, reqwest::Method::POST, "/v1/orders", &order).await.expect_status(202);
    }
    system.wait_until_processed().await;
}

#[tokio::test]
async fn a_hundred_changes_are_found_and_named() {
    let mut system = System::start().await;
    fund_and_trade(&system).await;
    let database = Database::of(&system);
    let verification = system.run(&["ledger", "verify"]).await;
    assert!(verification.status.success(), "{}", String::from_utf8_lossy(&verification.stdout));
    let seed = rand::random();
    let mut random = StdRng::seed_from_u64(seed);
    let mut found = 0;
    while found < 100 {
        let (table, name, which, columns) = *TABLES.choose(&mut random).expect("a table");
        let columns = if columns.is_empty() { "column_name".into() } else { format!("'{}'", columns.join("','")) };
        let columns = database.value(&format!(
            "SELECT string_agg(column_name || ':' || data_type, ',' ORDER BY ordinal_position)
             FROM information_schema.columns WHERE table_name = '{table}' AND column_name IN ({columns})"
        ));
        let columns: Vec<(&str, &str)> = columns.split(',').filter_map(|column| column.split_once(':')).collect();
        let rows: u32 =
            database.value(&format!("SELECT count(*) FROM {table} WHERE {which}")).parse().expect("a number");
        let row = random.random_range(0..rows);
        let named = database.value(&format!(
            "CREATE TABLE before AS SELECT * FROM {table} WHERE {which} ORDER BY {name} OFFSET {row} LIMIT 1;
             SELECT {name} FROM before"
        ));
        let (what, change) = if random.random_ratio(1, 4) {
            ("all".to_owned(), format!("DELETE FROM {table} WHERE {name} = '{named}' RETURNING {name}"))
        } else {
            let (column, kind) = *columns.choose(&mut random).expect("a column");
            let value = other_value(column, kind);
            let change = format!("UPDATE {table} SET {column} = {value} WHERE {name} = '{named}' RETURNING {name}");
            (column.to_owned(), change)
        };
        let output = database.run(&format!("{WITHOUT_TRIGGERS} {change}"));
        // A change that the table's own constraints refuse even to an administrator does not count.
        if output.status.success() {
            let changed = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            assert_found(&system, &format!("seed {seed}: {table}, {what} of {named}"), [&named, &changed]).await;
            database.value(&format!("{WITHOUT_TRIGGERS} DELETE FROM {table} WHERE {name} = '{changed}'"));
            database.value(&format!("{WITHOUT_TRIGGERS} INSERT INTO {table} SELECT * FROM before"));
            found += 1;
        }
        database.value("DROP TABLE before");
    }
    let verification = system.run(&["ledger", "verify"]).await;
    assert!(verification.status.success(), "{}", String::from_utf8_lossy(&verification.stdout));
    system.stop().await;
}

#[tokio::test]
async fn a_trade_at_a_price_that_nobody_quoted_is_found() {
    let mut system = System::start().await;
    fund_and_trade(&system).await;
    let database = Database::of(&system);
    verified(&system, &[], 0).await;
    let first = database.value("SELECT min(posting_id) FROM trades");
    database.value("DELETE FROM ticks");
    let report = verified(&system, &[], 1).await;
    let finding = &report["findings"][0];
    assert_eq!(finding["row"], format!("posting {first}"), "{report}");
    let problem = finding["problem"].as_str().expect("a sentence");
    assert!(problem.contains("cites tick 1522886400000000/5000/1/0 (1:0) of BTC-USD, 5000 at 2018-"), "{report}");
    // A month whose ticks were dropped proves nothing.
    database.value(
        "INSERT INTO dropped_tick_months SELECT DISTINCT date_trunc('month', tick_at AT TIME ZONE 'UTC') FROM trades",
    );
    verified(&system, &[], 0).await;
    system.stop().await;
}

/// Deletes the last posting, a deposit, with its transfers and their effect on balances.
const DELETE_LAST_POSTING: &str = "
    CREATE TABLE last AS SELECT * FROM transfers WHERE posting_id = (SELECT max(id) FROM postings);
    UPDATE accounts SET balance = balance + amount FROM last WHERE accounts.id = from_account;
    UPDATE accounts SET balance = balance - amount FROM last WHERE accounts.id = to_account;
    DELETE FROM transfers USING last WHERE transfers.posting_id = last.posting_id;
    DELETE FROM postings USING last WHERE postings.id = last.posting_id RETURNING postings.id";

#[tokio::test]
async fn a_deleted_last_posting_is_found() {
    let mut system = System::start().await;
    fund_and_trade(&system).await;
    let deposit = system.run(&["accounts", "deposit", "ada@example.com", "5", "BTC"]).await;
    assert!(deposit.status.success(), "{deposit:?}");
    let report = verified(&system, &[], 0).await;
    let head = report["head"].as_str().expect("a hash").to_owned();
    verified(&system, &["--without-streams", "--head", &head], 0).await;

    let database = Database::of(&system);
    let last = database.value(&format!("{WITHOUT_TRIGGERS} {DELETE_LAST_POSTING}"));
    let report = verified(&system, &["--without-streams"], 1).await;
    assert_eq!(report["findings"][0]["row"], format!("posting {last}"), "{report}");
    // An administrator who also deletes the batch of the posting is found by the stored hash, or by the stream.
    database.value(&format!("{WITHOUT_TRIGGERS} DELETE FROM posting_batches WHERE last_posting = {last}"));
    verified(&system, &["--without-streams"], 0).await;
    let report = verified(&system, &["--without-streams", "--head", &head], 1).await;
    assert_eq!(report["findings"][0]["row"], format!("head {head}"), "{report}");
    let report = verified(&system, &[], 1).await;
    assert!(report["findings"][0]["row"].as_str().is_some_and(|row| row.starts_with("deposit ")), "{report}");
    system.stop().await;
}

async fn verified(system: &System, arguments: &[&str], status: i32) -> Value {
    let output = system.run(&[&["ledger", "verify", "--json"][..], arguments].concat()).await;
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Checks that a change is found. A row whose key was changed is named by its old or its new key; a transfer may be named by
/// its posting, and a row of an order by the order.
async fn assert_found(system: &System, what: &str, names: [&str; 2]) {
    let output = system.run(&["ledger", "verify", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{what} was not found");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = report["findings"].as_array().expect("a list").iter().filter_map(|finding| finding["row"].as_str());
    let rows: Vec<&str> = rows.collect();
    let is_named = |row: &&str| names.iter().any(|name| name.ends_with(row));
    assert!(rows.iter().any(is_named), "{what}: {report}");
}
