//! The lines that PostgreSQL holds against the settler's own role: what must never be in the ledger is refused to it too.

use e2e::{Database, System};

const SETTLER: &str = "tickbell_trade_settler";

/// Two accounts and a posting that moves nothing yet.
const BEGUN: &str = "
    INSERT INTO accounts (id, kind, asset, hash) VALUES (1, 'house', 'USD', ''), (2, 'issued', 'USD', '');
    INSERT INTO postings VALUES (1, 'deposit', gen_random_uuid(), gen_random_uuid(), now(), '', 'hash');";

/// What is checked at the end of a transaction is checked now.
const CHECKED: &str = "SET CONSTRAINTS ALL IMMEDIATE;";

/// Adds transfers of the posting.
fn transfers(rows: &[(u8, &str, &str)]) -> String {
    let rows: Vec<_> =
        rows.iter().map(|(number, asset, amount)| format!("(1, {number}, '{asset}', 2, 1, {amount}, '')")).collect();
    format!("INSERT INTO transfers VALUES {};", rows.join(","))
}

#[tokio::test]
async fn the_settlers_role_cannot_break_the_ledger() {
    let system = System::start().await;
    let database = Database::of(&system);
    let right = format!("{BEGUN} {} {CHECKED}", transfers(&[(1, "USD", "5"), (2, "USD", "0.01")]));
    assert_eq!(database.refusal(SETTLER, &right), None);

    let later = transfers(&[(2, "USD", "1")]);
    let order = "INSERT INTO order_states VALUES (gen_random_uuid(), gen_random_uuid(), 1,";
    let trade = "INSERT INTO trades VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'BTC-USD', 'buy',";
    for (statements, why) in [
        (format!("{BEGUN} {CHECKED}"), "moves nothing"),
        (format!("{BEGUN} {}", transfers(&[(1, "USD", "'NaN'")])), "amounts_in_range"),
        (format!("{BEGUN} {}", transfers(&[(1, "USD", "'Infinity'")])), "amounts_in_range"),
        (format!("{BEGUN} {}", transfers(&[(1, "USD", "1e16")])), "amounts_in_range"),
        (format!("{BEGUN} {}", transfers(&[(1, "USD", "9e15"), (2, "USD", "9e15")])), "amounts_in_range"),
        (format!("{BEGUN} {}", transfers(&[(1, "USD", "0.001")])), "more decimal places"),
        (format!("{BEGUN} {}", transfers(&[(1, "BTC", "1")])), "not of its asset"),
        // A posting that has passed its check early is not checked again, so nothing may be added to it.
        (format!("{BEGUN} {} {CHECKED} {later}", transfers(&[(1, "USD", "5")])), "has others already"),
        (format!("{BEGUN} {} {later}", transfers(&[(1, "USD", "5")])), "has others already"),
        (BEGUN.replace("now()", "'infinity'"), "time_is_finite"),
        (format!("{order} 'open', NULL, 1, 'USD', 'NaN', NULL, NULL, 0, now())"), "amounts_in_range"),
        (format!("{order} 'rejected', 'mood', 1, NULL, 0, NULL, NULL, 0, now())"), "reject_reason_known"),
        (format!("{order} 'rejected', NULL, 1, NULL, 0, NULL, NULL, 0, now())"), "reject_reason_known"),
        (format!("{trade} 'NaN', 1, 1, 0, 0, 1, now(), '')"), "amounts_in_range"),
        (format!("{trade} 1, 1, 1, 'NaN', 0, 1, now(), '')"), "amounts_in_range"),
        ("INSERT INTO settlement_prices VALUES ('BTC-USD', 'NaN', now(), 1)".into(), "amounts_in_range"),
    ] {
        let said = database.refusal(SETTLER, &statements).unwrap_or_else(|| panic!("taken: {statements}"));
        assert!(said.contains(why), "{statements}: {said}");
    }
}

#[tokio::test]
async fn what_an_asset_is_stays_also_for_the_owner_of_the_tables() {
    let system = System::start().await;
    let database = Database::of(&system);
    for change in ["UPDATE assets SET scale = 3 WHERE code = 'USD'", "DELETE FROM assets WHERE code = 'DOT'"] {
        let output = database.run(change);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("append-only"), "{change}: {said}");
    }
    assert!(database.run("INSERT INTO assets VALUES ('ACME', 3)").status.success());
}
