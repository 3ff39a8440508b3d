//! The constraints of the ledger's tables, which PostgreSQL enforces against the settler's own role as well.

use e2e::{Database, System};

const SETTLER: &str = "tickbell_trade_settler";

/// Inserts two accounts and a posting without transfers.
const POSTING: &str = "
    INSERT INTO accounts (id, kind, asset, hash) VALUES (1, 'house', 'USD', ''), (2, 'issued', 'USD', '');
    INSERT INTO postings VALUES (1, 'deposit', gen_random_uuid(), gen_random_uuid(), now(), '', 'hash');";

/// Checks the deferred constraints now instead of at the commit.
const CHECK_NOW: &str = "SET CONSTRAINTS ALL IMMEDIATE;";

/// Returns the statement that inserts transfers of the posting.
fn transfers(rows: &[(u8, &str, &str)]) -> String {
    let rows: Vec<_> =
        rows.iter().map(|(number, asset, amount)| format!("(1, {number}, '{asset}', 2, 1, {amount}, '')")).collect();
    format!("INSERT INTO transfers VALUES {};", rows.join(","))
}

#[tokio::test]
async fn the_settlers_role_cannot_break_the_ledger() {
    let system = System::start().await;
    let database = Database::of(&system);
    let right = format!("{POSTING} {} {CHECK_NOW}", transfers(&[(1, "USD", "5"), (2, "USD", "0.01")]));
    assert_eq!(database.refusal(SETTLER, &right), None);

    let later = transfers(&[(2, "USD", "1")]);
    let order = "INSERT INTO order_states VALUES (gen_random_uuid(), gen_random_uuid(), 1,";
    let trade = "INSERT INTO trades VALUES (gen_random_uuid(), 1, gen_random_uuid(), 'BTC-USD', 'buy',";
    for (statements, why) in [
        (format!("{POSTING} {CHECK_NOW}"), "moves nothing"),
        (format!("{POSTING} {}", transfers(&[(1, "USD", "'NaN'")])), "amounts_in_range"),
        (format!("{POSTING} {}", transfers(&[(1, "USD", "'Infinity'")])), "amounts_in_range"),
        (format!("{POSTING} {}", transfers(&[(1, "USD", "1e16")])), "amounts_in_range"),
        (format!("{POSTING} {}", transfers(&[(1, "USD", "9e15"), (2, "USD", "9e15")])), "amounts_in_range"),
        (format!("{POSTING} {}", transfers(&[(1, "USD", "0.001")])), "more decimal places"),
        (format!("{POSTING} {}", transfers(&[(1, "BTC", "1")])), "not of its asset"),
        // A posting whose constraints were checked early is not checked again, so no transfer may be added to it.
        (format!("{POSTING} {} {CHECK_NOW} {later}", transfers(&[(1, "USD", "5")])), "has others already"),
        (format!("{POSTING} {} {later}", transfers(&[(1, "USD", "5")])), "has others already"),
        (POSTING.replace("now()", "'infinity'"), "time_is_finite"),
        (format!("{order} 'open', NULL, 1, 'USD', 'NaN', NULL, NULL, 0, now())"), "amounts_in_range"),
        (format!("{order} 'rejected', 'mood', 1, NULL, 0, NULL, NULL, 0, now())"), "reject_reason_known"),
        (format!("{order} 'rejected', NULL, 1, NULL, 0, NULL, NULL, 0, now())"), "reject_reason_known"),
        (format!("{trade} 'NaN', 1, 1, 0, 10, '1', 0, 0, 1, now(), now(), '')"), "amounts_in_range"),
        (format!("{trade} 1, 1, 1, 'NaN', 10, '1', 0, 0, 1, now(), now(), '')"), "amounts_in_range"),
        (format!("{trade} 1, 1, 1, 0, 10, '1', 0, 0, 1, 'infinity', now(), '')"), "time_is_finite"),
        (
            "INSERT INTO settlement_prices VALUES ('BTC-USD', 'test', true, '1', 'NaN', now(), 1, 0)".into(),
            "amounts_in_range",
        ),
    ] {
        let said = database.refusal(SETTLER, &statements).unwrap_or_else(|| panic!("accepted: {statements}"));
        assert!(said.contains(why), "{statements}: {said}");
    }
}

#[tokio::test]
async fn not_even_the_owner_of_the_tables_can_change_an_asset() {
    let system = System::start().await;
    let database = Database::of(&system);
    for change in ["UPDATE assets SET scale = 3 WHERE code = 'USD'", "DELETE FROM assets WHERE code = 'DOT'"] {
        let output = database.run(change);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("append-only"), "{change}: {said}");
    }
    assert!(database.run("INSERT INTO assets VALUES ('ACME', 3)").status.success());
}
