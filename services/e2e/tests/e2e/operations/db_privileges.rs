//! The rights of the services' database roles: each has what its service needs, and no more.

use e2e::{Database, System};

/// The rights of each role by table: S for SELECT, I for INSERT, U for UPDATE, D for DELETE; a small letter holds for some
/// columns only, which [`COLUMNS`] names. A right that is not listed is refused.
const RIGHTS: [(&str, &[(&str, &str)]); 9] = [
    (
        "tickbell_gateway",
        &[
            ("rules", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
            ("users", "SiuD"),
            ("sign_ups", "SIUD"),
            ("sessions", "SIUD"),
            ("api_keys", "SIUD"),
            ("password_resets", "SIUD"),
            ("login_attempts", "SIUD"),
            ("rule_states", "S"),
            ("market_states", "S"),
            ("firings", "S"),
            ("late_verdicts", "S"),
            ("instruments", "S"),
            ("ticks", "S"),
            ("latest_prices", "S"),
            ("candles", "S"),
            ("orders", "SI"),
            ("order_idempotency_keys", "SI"),
            ("deposits", "SI"),
            ("order_states", "S"),
            ("accounts", "S"),
            ("postings", "S"),
            ("transfers", "S"),
            ("trades", "S"),
            ("assets", "S"),
            ("consumer_positions", "S"),
            ("channel_states", "S"),
            ("deliveries", "s"),
            ("delivery_attempts", "S"),
            ("feeds", "SIUD"),
            ("feed_venues", "Su"),
            ("feed_states", "S"),
            ("feed_gaps", "S"),
            ("feed_gap_changes", "S"),
            ("dropped_tick_months", "S"),
            ("archived_days", "S"),
        ],
    ),
    (
        "tickbell_price_ingestor",
        &[
            ("feeds", "SI"),
            ("feed_venues", "SIU"),
            ("feed_states", "SIUD"),
            ("feed_gaps", "SIUD"),
            ("feed_gap_changes", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
        ],
    ),
    (
        "tickbell_alert_engine",
        &[
            ("rules", "S"),
            ("rule_states", "SIU"),
            ("market_states", "SIU"),
            ("market_samples", "SIUD"),
            ("firings", "SI"),
            ("late_verdicts", "SI"),
            ("market_gaps", "SIUD"),
            ("instruments", "S"),
            ("ticks", "S"),
            ("consumer_positions", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
            ("dead_letters", "SI"),
        ],
    ),
    (
        "tickbell_history_writer",
        &[
            ("ticks", "SI"),
            ("archived_days", "S"),
            ("dropped_tick_months", "S"),
            ("instruments", "SIU"),
            ("latest_prices", "SIU"),
            ("candles", "SIU"),
            ("consumer_positions", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
            ("dead_letters", "SI"),
        ],
    ),
    (
        "tickbell_notifier",
        &[
            ("deliveries", "SIU"),
            ("delivery_attempts", "SI"),
            ("batched_sources", "SI"),
            ("channel_states", "SU"),
            ("consumer_positions", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
            ("dead_letters", "SI"),
            ("users", "s"),
            ("sign_ups", "s"),
            ("password_resets", "s"),
            ("rules", "s"),
            ("rule_states", "s"),
            ("late_verdicts", "S"),
            ("market_states", "S"),
            ("instruments", "S"),
            ("latest_prices", "S"),
        ],
    ),
    (
        "tickbell_archiver",
        &[
            ("instruments", "S"),
            ("ticks", "S"),
            ("candles", "S"),
            ("latest_prices", "S"),
            ("feed_gaps", "S"),
            ("feed_gap_changes", "S"),
            ("dropped_tick_months", "S"),
            ("archived_days", "SIUD"),
            ("leases", "SIU"),
        ],
    ),
    ("tickbell_kafka_bridge", &[("dead_letters", "SI"), ("outbox", "SID"), ("leases", "SIU")]),
    (
        "tickbell_trade_settler",
        &[
            ("assets", "S"),
            ("orders", "S"),
            ("deposits", "S"),
            ("accounts", "Si"),
            ("posting_batches", "S"),
            ("instruments", "S"),
            ("ticks", "S"),
            ("dropped_tick_months", "S"),
            ("postings", "SI"),
            ("transfers", "SI"),
            ("trades", "SI"),
            ("dead_letters", "SI"),
            ("order_states", "SIU"),
            ("settlement_markets", "SIU"),
            ("settlement_prices", "SIU"),
            ("consumer_positions", "SIU"),
            ("leases", "SIU"),
            ("outbox", "SID"),
        ],
    ),
    (
        "tickbell_operator",
        &[
            ("consumer_positions", "S"),
            ("leases", "S"),
            ("outbox", "SID"),
            ("deliveries", "S"),
            ("delivery_attempts", "S"),
            ("dead_letters", "S"),
            ("deposits", "SI"),
            ("assets", "SI"),
            ("accounts", "S"),
            ("postings", "S"),
            ("posting_batches", "S"),
            ("transfers", "S"),
            ("trades", "S"),
            ("orders", "S"),
            ("order_states", "S"),
            ("instruments", "S"),
            ("ticks", "S"),
            ("candles", "S"),
            ("dropped_tick_months", "S"),
            ("users", "s"),
            ("rules", "s"),
            ("rule_states", "S"),
            ("firings", "S"),
            ("batched_sources", "S"),
            ("channel_states", "S"),
            ("feeds", "SIUD"),
            ("feed_venues", "Su"),
            ("feed_states", "S"),
            ("feed_gaps", "S"),
            ("archived_days", "SD"),
        ],
    ),
];

/// The columns for which the small letters hold.
const COLUMNS: &str = "\
tickbell_gateway deliveries SELECT channel created_at id kind next_attempt_at rule_id source_id status
tickbell_gateway feed_venues UPDATE revision
tickbell_gateway users INSERT created_at email id password_hash
tickbell_gateway users UPDATE password_hash
tickbell_notifier password_resets SELECT id user_id
tickbell_notifier rule_states SELECT rule_id status
tickbell_notifier rules SELECT id rule status updated_at
tickbell_notifier sign_ups SELECT email id
tickbell_notifier users SELECT email id
tickbell_operator feed_venues UPDATE revision
tickbell_operator rules SELECT created_at id revision rule status updated_at
tickbell_operator users SELECT email id
tickbell_trade_settler accounts INSERT asset hash id kind user_id";

/// The statements that are refused to every role.
const DENIED_TO_ALL: [&str; 8] = [
    "CREATE TABLE mine (id int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE rules DISABLE TRIGGER ALL",
    "DROP TABLE firings",
    "TRUNCATE outbox",
    "SELECT rolpassword FROM pg_authid",
    "COPY rules TO PROGRAM 'cat'",
    "DELETE FROM _sqlx_migrations",
];

#[tokio::test]
async fn each_role_is_refused_what_it_does_not_need() {
    let system = System::start().await;
    let database = Database::of(&system);
    let found = database.value(
        "SELECT role || ' ' || relname || ' ' || concat(
             CASE WHEN has_table_privilege(role, oid, 'SELECT') THEN 'S'
                  WHEN has_any_column_privilege(role, oid, 'SELECT') THEN 's' END,
             CASE WHEN has_table_privilege(role, oid, 'INSERT') THEN 'I'
                  WHEN has_any_column_privilege(role, oid, 'INSERT') THEN 'i' END,
             CASE WHEN has_table_privilege(role, oid, 'UPDATE') THEN 'U'
                  WHEN has_any_column_privilege(role, oid, 'UPDATE') THEN 'u' END,
             CASE WHEN has_table_privilege(role, oid, 'DELETE') THEN 'D' END)
         FROM pg_class, (SELECT rolname AS role FROM pg_roles WHERE rolname LIKE 'tickbell\\_%') roles
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
           AND relname NOT IN ('_sqlx_migrations', 'schema_format')",
    );
    assert!(found.lines().count() >= RIGHTS.len() * 13, "{found}");

    let mut wrong = Vec::new();
    for line in found.lines() {
        let (role, rest) = line.split_once(' ').expect("a role");
        // A role without rights on the table has no letters, and psql trims the last space.
        let (table, letters) = rest.split_once(' ').unwrap_or((rest, ""));
        let rights = RIGHTS.iter().find(|(name, _)| *name == role).map_or(&[][..], |(_, rights)| *rights);
        let allowed = rights.iter().find(|(name, _)| *name == table).map_or("", |(_, letters)| *letters);
        if letters != allowed {
            wrong.push(format!("{role} on {table}: {letters} instead of {allowed}"));
        }
    }
    for (role, _) in RIGHTS {
        for refused in DENIED_TO_ALL {
            let said = database.refusal(role, refused).unwrap_or_default();
            // Any error would not do: a misspelt statement is refused as well.
            if !["permission denied", "must be owner", "must be superuser"].iter().any(|why| said.contains(why)) {
                wrong.push(format!("{role} may: {refused}; {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let columns = database.value(
        "SELECT concat_ws(' ', role, relname, privilege, string_agg(attname, ' ' ORDER BY attname))
         FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped,
             (SELECT rolname AS role FROM pg_roles WHERE rolname LIKE 'tickbell\\_%') roles,
             unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS privilege
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
           AND has_column_privilege(role, pg_class.oid, attnum, privilege)
           AND NOT has_table_privilege(role, pg_class.oid, privilege)
         GROUP BY role, relname, privilege ORDER BY role, relname, privilege",
    );
    assert_eq!(columns, COLUMNS);
}

#[tokio::test]
async fn postgresql_itself_refuses_forbidden_statements() {
    let system = System::start().await;
    let database = Database::of(&system);
    for (role, statement) in [
        ("tickbell_gateway", "UPDATE firings SET suppressed = NULL"),
        ("tickbell_gateway", "SELECT address FROM deliveries"),
        ("tickbell_gateway", "DELETE FROM rules"),
        ("tickbell_alert_engine", "UPDATE rules SET status = 'deleted'"),
        ("tickbell_history_writer", "UPDATE ticks SET price = 1"),
        ("tickbell_notifier", "SELECT manage_token_hash FROM rules"),
        ("tickbell_notifier", "SELECT password_hash FROM users"),
        ("tickbell_notifier", "SELECT password_hash FROM sign_ups"),
        ("tickbell_notifier", "SELECT address_hash FROM password_resets"),
        ("tickbell_notifier", "UPDATE users SET email = 'eve@example.com'"),
        ("tickbell_alert_engine", "SELECT email FROM users"),
        ("tickbell_operator", "SELECT token_hash FROM sessions"),
        ("tickbell_operator", "DELETE FROM deposits"),
        ("tickbell_operator", "SELECT password_hash FROM users"),
        ("tickbell_operator", "UPDATE users SET role = 'operator'"),
        ("tickbell_gateway", "UPDATE users SET role = 'operator'"),
        ("tickbell_gateway", "UPDATE users SET email = 'eve@example.com'"),
        (
            "tickbell_gateway",
            "INSERT INTO users (id, email, password_hash, role, created_at)
             VALUES (gen_random_uuid(), 'eve@example.com', '', 'operator', now())",
        ),
        ("tickbell_gateway", "UPDATE orders SET terms = '{}'"),
        ("tickbell_gateway", "INSERT INTO order_states SELECT * FROM order_states"),
        ("tickbell_gateway", "UPDATE accounts SET balance = 1"),
        ("tickbell_gateway", "INSERT INTO assets VALUES ('X', 2)"),
        ("tickbell_trade_settler", "UPDATE accounts SET balance = 1"),
        (
            "tickbell_trade_settler",
            "INSERT INTO accounts (id, kind, asset, hash, balance) VALUES (9, 'house', 'USD', '', 5)",
        ),
        ("tickbell_trade_settler", "UPDATE transfers SET amount = 1"),
        ("tickbell_trade_settler", "DELETE FROM postings"),
        ("tickbell_trade_settler", "UPDATE trades SET price = 1"),
        ("tickbell_trade_settler", "DELETE FROM orders"),
        ("tickbell_trade_settler", "SELECT email FROM users"),
        ("tickbell_trade_settler", "INSERT INTO posting_batches VALUES (1, 1)"),
        ("tickbell_trade_settler", "INSERT INTO deposits SELECT * FROM deposits"),
    ] {
        let said = database.refusal(role, statement).expect("refused");
        assert!(said.contains("permission denied"), "{role} {statement}: {said}");
    }
    // In a shared table a service sees and writes only its own rows. The alert-engine also sees how far the history is.
    let seen = "BEGIN; SET LOCAL ROLE tickbell_alert_engine;
                SELECT string_agg(consumer, ' ' ORDER BY consumer) FROM consumer_positions";
    assert_eq!(database.value(seen), "alert-engine alert-engine-feeds alert-engine-rules history-writer");
    let forged = "INSERT INTO outbox (service, subject, message_id, headers, body)
                  VALUES ('alert-engine', 'alerts.X', 'forged', '{}', '')";
    let said = database.refusal("tickbell_gateway", forged);
    assert!(said.as_deref().is_some_and(|said| said.contains("row-level security")), "{said:?}");
    // The export and erasure of a person touch tables that the gateway may not read, so functions do the work for it.
    for function in [
        "export_user_data('ada@example.com')",
        "erase_deliveries('ada@example.com', '')",
        "erase_references(gen_random_uuid())",
    ] {
        let statement = format!("SELECT {function}");
        assert_eq!(database.refusal("tickbell_gateway", &statement), None, "{function}");
        for role in ["tickbell_notifier", "tickbell_alert_engine", "tickbell_history_writer", "tickbell_operator"] {
            let said = database.refusal(role, &statement);
            assert!(said.is_some_and(|said| said.contains("permission denied")), "{role} {statement}");
        }
    }
    let addresses = "SELECT email FROM users UNION SELECT email FROM sign_ups";
    assert_eq!(database.refusal("tickbell_notifier", addresses), None);
    // Only the history-writer may create a partition of the ticks.
    let month = "SELECT create_ticks_partition('2030-01-01')";
    assert_eq!(database.refusal("tickbell_history_writer", month), None);
    assert!(database.refusal("tickbell_gateway", month).is_some_and(|said| said.contains("permission denied")));
    // The settler's statement fails as a whole when another instance has moved the position.
    assert_eq!(database.refusal("tickbell_trade_settler", "SELECT fence(true)"), None);
    assert_eq!(database.refusal("tickbell_alert_engine", "SELECT fence(true)"), None);
    let fenced = database.refusal("tickbell_trade_settler", "SELECT fence(false)");
    assert!(fenced.as_deref().is_some_and(|said| said.contains("another instance")), "{fenced:?}");
    assert!(database.refusal("tickbell_history_writer", "SELECT create_ticks_partition('2030-01-02')").is_some());
}
