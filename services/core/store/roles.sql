-- One database role for each service, with the rights that it needs and no others. `tickbell migrate` runs this file
-- after every migration; it can be run again at any time and then takes away what is not said here.
--
-- Roles that are missing are made without a login where that is allowed (a platform makes them itself, with a password
-- from its secrets). Services may also all use the owner's role, as `tickbell up` does: nothing here is about the owner.

-- Two of these at a time would meet in the catalogue.
SELECT pg_advisory_xact_lock(hashtextextended('tickbell/roles', 0));

DO $roles$
DECLARE
    service_roles CONSTANT text[] := ARRAY['tickbell_alert_engine', 'tickbell_archiver', 'tickbell_gateway', 'tickbell_history_writer',
                                           'tickbell_kafka_bridge', 'tickbell_notifier', 'tickbell_operator',
                                           'tickbell_price_ingestor', 'tickbell_trade_settler'];
    name text;
    grant_text text;
BEGIN
    FOREACH name IN ARRAY service_roles LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            END IF;
        EXCEPTION
            -- Somebody else makes the roles, or has just made it.
            WHEN insufficient_privilege THEN RAISE NOTICE 'role % is not there and may not be made', name;
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA public FROM %I', name);
            EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM %I', name);
            EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', name);
            -- Each service checks the format and the version of the schema before it starts.
            EXECUTE format('GRANT SELECT ON _sqlx_migrations, schema_format TO %I', name);
        END IF;
    END LOOP;

    FOREACH grant_text IN ARRAY ARRAY[
        -- Takes rules and answers questions.
        'SELECT, INSERT, UPDATE ON rules TO tickbell_gateway',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_gateway',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_gateway',
        'SELECT, INSERT, UPDATE, DELETE ON sign_ups, sessions, api_keys, password_resets, login_attempts '
            'TO tickbell_gateway',
        -- Makes accounts and sets their passwords. Whose address it is and who is an operator it cannot change.
        'SELECT, DELETE ON users TO tickbell_gateway',
        'INSERT (id, email, password_hash, created_at) ON users TO tickbell_gateway',
        'UPDATE (password_hash) ON users TO tickbell_gateway',
        'EXECUTE ON FUNCTION export_user_data(text), erase_deliveries(text, text), erase_references(uuid), lock_account(uuid), '
            'replay_dead_letter(text, bigint, smallint, uuid, text, text, text, bytea), dead_letter_publisher(text) TO tickbell_gateway',
        'SELECT ON rule_states, market_states, firings, late_verdicts, instruments, ticks, latest_prices, candles TO tickbell_gateway',
        'SELECT, INSERT ON orders, order_idempotency_keys, deposits TO tickbell_gateway',
        'SELECT ON order_states, accounts, postings, transfers, trades, assets TO tickbell_gateway',
        -- Publishes again what the broker has lost, and says whether mail goes out; no address.
        'SELECT ON consumer_positions, channel_states TO tickbell_gateway',
        'SELECT (status, next_attempt_at, id, kind, source_id, rule_id, channel, created_at) ON deliveries '
            'TO tickbell_gateway',
        'SELECT ON delivery_attempts TO tickbell_gateway',

        -- Which symbols are followed at exchanges, and how that goes.
        'SELECT, INSERT, UPDATE, DELETE ON feeds TO tickbell_gateway',
        'SELECT, UPDATE (revision) ON feed_venues TO tickbell_gateway',
        'SELECT ON feed_states, feed_gaps, feed_gap_changes TO tickbell_gateway',
        -- Which ticks are in the archive alone.
        'SELECT ON dropped_tick_months, archived_days TO tickbell_gateway',

        -- Publishes prices, and keeps what it has missed of them.
        'SELECT, INSERT ON feeds TO tickbell_price_ingestor',
        'SELECT, INSERT, UPDATE ON feed_venues TO tickbell_price_ingestor',
        'SELECT, INSERT, UPDATE, DELETE ON feed_states, feed_gaps TO tickbell_price_ingestor',
        'SELECT, INSERT, UPDATE ON feed_gap_changes TO tickbell_price_ingestor',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_price_ingestor',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_price_ingestor',

        -- Judges.
        'SELECT ON rules TO tickbell_alert_engine',
        'SELECT, INSERT, UPDATE ON rule_states, market_states, consumer_positions TO tickbell_alert_engine',
        'SELECT, INSERT, UPDATE, DELETE ON market_samples TO tickbell_alert_engine',
        'SELECT, INSERT ON firings, late_verdicts, dead_letters TO tickbell_alert_engine',
        -- Judges again what was missed, from the history once that has it.
        'SELECT, INSERT, UPDATE, DELETE ON market_gaps TO tickbell_alert_engine',
        'SELECT ON instruments, ticks TO tickbell_alert_engine',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_alert_engine',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_alert_engine',
        'EXECUTE ON FUNCTION fence(boolean) TO tickbell_alert_engine',

        -- Keeps what was; never changes a tick.
        'SELECT, INSERT ON ticks, dead_letters TO tickbell_history_writer',
        'SELECT ON dropped_tick_months, archived_days TO tickbell_history_writer',
        'SELECT, INSERT, UPDATE ON instruments, latest_prices, candles, consumer_positions TO tickbell_history_writer',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_history_writer',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_history_writer',
        'EXECUTE ON FUNCTION create_ticks_partition(date), drop_ticks_partition(date) TO tickbell_history_writer',

        -- Copies what was to files; changes nothing but what it knows of them.
        'SELECT ON instruments, ticks, candles, latest_prices, feed_gaps, feed_gap_changes, dropped_tick_months '
            'TO tickbell_archiver',
        'SELECT, INSERT, UPDATE, DELETE ON archived_days TO tickbell_archiver',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_archiver',

        -- Mirrors streams to Kafka, which has its positions.
        'SELECT, INSERT ON dead_letters TO tickbell_kafka_bridge',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_kafka_bridge',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_kafka_bridge',

        -- Moves money: adds to the ledger and changes nothing in it. Balances are moved by a trigger of the owner's, so
        -- an account is made without saying its balance.
        'SELECT ON assets, orders, deposits, accounts, posting_batches, instruments, ticks, dropped_tick_months '
            'TO tickbell_trade_settler',
        'INSERT (id, kind, user_id, asset, hash) ON accounts TO tickbell_trade_settler',
        'SELECT, INSERT ON postings, transfers, trades, dead_letters TO tickbell_trade_settler',
        'SELECT, INSERT, UPDATE ON order_states, settlement_markets, settlement_prices, consumer_positions '
            'TO tickbell_trade_settler',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_trade_settler',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_trade_settler',
        'EXECUTE ON FUNCTION fence(boolean) TO tickbell_trade_settler',

        -- Tells people.
        'SELECT, INSERT, UPDATE ON deliveries, consumer_positions TO tickbell_notifier',
        'SELECT, INSERT ON delivery_attempts, batched_sources, dead_letters TO tickbell_notifier',
        'SELECT, UPDATE ON channel_states TO tickbell_notifier',
        'SELECT, INSERT, DELETE ON outbox TO tickbell_notifier',
        'SELECT, INSERT, UPDATE ON leases TO tickbell_notifier',
        -- Where to write to; no password's hash.
        'SELECT (id, email) ON users, sign_ups TO tickbell_notifier',
        'SELECT (id, user_id) ON password_resets TO tickbell_notifier',
        -- Whether an address is erased by now, and whose market is silent; no token's hash.
        'SELECT (id, rule, status, updated_at) ON rules TO tickbell_notifier',
        'SELECT (rule_id, status) ON rule_states TO tickbell_notifier',
        'SELECT ON market_states, instruments, latest_prices, late_verdicts TO tickbell_notifier',

        -- `tickbell status` and `doctor`: how far everything is.
        'SELECT ON consumer_positions, leases, outbox, deliveries, delivery_attempts, channel_states, dead_letters '
            'TO tickbell_operator',
        -- `tickbell feeds`.
        'SELECT, INSERT, UPDATE, DELETE ON feeds TO tickbell_operator',
        'SELECT, UPDATE (revision) ON feed_venues TO tickbell_operator',
        'SELECT ON feed_states, feed_gaps TO tickbell_operator',
        -- `tickbell accounts deposit` and `asset`.
        'SELECT, INSERT ON deposits, assets TO tickbell_operator',
        'SELECT ON accounts, postings, posting_batches, transfers, trades, orders, order_states, instruments, ticks, '
            'candles, dropped_tick_months, archived_days TO tickbell_operator',
        'SELECT (id, email) ON users TO tickbell_operator',
        -- `tickbell streams republish`; no token's hash.
        'SELECT (id, rule, revision, status, created_at, updated_at) ON rules TO tickbell_operator',
        'SELECT ON rule_states, firings, batched_sources TO tickbell_operator',
        'EXECUTE ON FUNCTION lock_account(uuid) TO tickbell_operator',
        'INSERT, DELETE ON outbox TO tickbell_operator',
        -- `tickbell archive verify`: a day that differs is no longer one that the archive has.
        'DELETE ON archived_days TO tickbell_operator'
    ] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = substring(grant_text FROM '\w+$')) THEN
            EXECUTE 'GRANT ' || grant_text;
        END IF;
    END LOOP;
END $roles$;

-- Some run with the owner's rights. Whoever may execute move_balances could hang it on a table of their own, and move
-- balances by what that table says. Here and not only in migrations, because a dump is restored without its privileges.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;

-- Tables that services share have rows of each: a service sees and changes its own. The owner of a table is not bound.
ALTER TABLE leases ENABLE ROW LEVEL SECURITY;
ALTER TABLE consumer_positions ENABLE ROW LEVEL SECURITY;
ALTER TABLE outbox ENABLE ROW LEVEL SECURITY;
ALTER TABLE dead_letters ENABLE ROW LEVEL SECURITY;

DROP POLICY IF EXISTS own_rows ON leases;
DROP POLICY IF EXISTS own_rows ON consumer_positions;
DROP POLICY IF EXISTS own_rows ON outbox;
DROP POLICY IF EXISTS own_rows ON dead_letters;
-- Role tickbell_alert_engine is the service alert-engine; its consumers are alert-engine and alert-engine-rules. No service's
-- name begins with another's.
CREATE POLICY own_rows ON consumer_positions
    USING (consumer = replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-')
           OR consumer LIKE replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-') || '-%');
-- The gateways that relay hold the lease gateway-outbox, and price-ingestors one for each venue.
CREATE POLICY own_rows ON leases
    USING (service = replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-')
           OR service LIKE replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-') || '-%');
CREATE POLICY own_rows ON outbox
    USING (service = replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-'));
CREATE POLICY own_rows ON dead_letters
    USING (service = replace(substring(current_user FROM 'tickbell_(.*)'), '_', '-'));

DROP POLICY IF EXISTS operator_sees_all ON leases;
DROP POLICY IF EXISTS operator_sees_all ON consumer_positions;
DROP POLICY IF EXISTS operator_sees_all ON outbox;
DROP POLICY IF EXISTS operator_sees_all ON dead_letters;
DROP POLICY IF EXISTS gateway_sees_all ON consumer_positions;
DROP POLICY IF EXISTS alert_engine_sees_history ON consumer_positions;
CREATE POLICY operator_sees_all ON consumer_positions FOR SELECT USING (current_user = 'tickbell_operator');
CREATE POLICY operator_sees_all ON leases FOR SELECT USING (current_user = 'tickbell_operator');
CREATE POLICY operator_sees_all ON outbox FOR SELECT USING (current_user = 'tickbell_operator');
CREATE POLICY operator_sees_all ON dead_letters FOR SELECT USING (current_user = 'tickbell_operator');
-- What a consumer has yet to read is not lost.
CREATE POLICY gateway_sees_all ON consumer_positions FOR SELECT USING (current_user = 'tickbell_gateway');
-- Whether the history has the ticks of a gap.
CREATE POLICY alert_engine_sees_history ON consumer_positions FOR SELECT
    USING (current_user = 'tickbell_alert_engine' AND consumer = 'history-writer');
