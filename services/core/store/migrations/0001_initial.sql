-- The initial schema: PostgreSQL is the system of record for rules, money and deliveries, and the store of price history.
--
-- Times are UTC. A sequence is the number of a message in its JetStream stream. Tokens and passwords are stored as hashes.
-- Rights are granted by roles.sql, which `tickbell migrate` runs after every migration.

-- Format ---------------------------------------------------------------------------------------------------------------

CREATE TABLE schema_format (
    format integer NOT NULL CHECK (format > 0)
);
CREATE UNIQUE INDEX schema_format_single_row ON schema_format ((true));
COMMENT ON TABLE schema_format IS
    'The format number of this schema, in one row. A build refuses a database of another format.';
INSERT INTO schema_format (format) VALUES (3);

-- Consumers and the outbox ---------------------------------------------------------------------------------------------

CREATE TABLE leases (
    service     text        PRIMARY KEY,
    holder      uuid        NOT NULL,
    program     text        NOT NULL,
    acquired_at timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
COMMENT ON TABLE leases IS
    'The leader of each service. A leader renews its lease every second; once a lease has expired, another instance takes it.';
COMMENT ON COLUMN leases.holder IS 'The id of the process that leads.';
COMMENT ON COLUMN leases.program IS 'The name of its connections to the database, like tickbell trade-settler.';

CREATE TABLE consumer_positions (
    consumer          text        PRIMARY KEY,
    stream_position   bigint      NOT NULL DEFAULT 0 CHECK (stream_position >= 0),
    last_event_at     timestamptz,
    stream_created_at timestamptz NOT NULL,
    stored_at         timestamptz
);
COMMENT ON TABLE consumer_positions IS
    'The last stream sequence that each consumer has applied. It is updated in the transaction of the effect, on condition of the value that was read, so that a second, stale instance cannot commit.';
COMMENT ON COLUMN consumer_positions.stream_created_at IS
    'When the stream was created: a position in another stream of the same name means nothing.';
COMMENT ON COLUMN consumer_positions.stored_at IS
    'When the broker stored the message at the position: where another time stands there, an older copy of the stream was put back.';

-- The settler adds thousands of events at a time: a row holds one event in the columns subject to body, or many of them, in
-- order, in the columns batch_subjects to batch_bodies.
CREATE TABLE outbox (
    id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service           text        NOT NULL,
    subject           text,
    message_id        text,
    headers           jsonb,
    body              bytea,
    created_at        timestamptz NOT NULL DEFAULT now(),
    event_count       integer     NOT NULL DEFAULT 1,
    batch_subjects    text[],
    batch_message_ids text[],
    batch_headers     text[],
    batch_bodies      bytea[]
);
-- Rows live for milliseconds: compressing them would cost more than it saves.
ALTER TABLE outbox
    ALTER COLUMN batch_subjects SET STORAGE EXTERNAL,
    ALTER COLUMN batch_message_ids SET STORAGE EXTERNAL,
    ALTER COLUMN batch_headers SET STORAGE EXTERNAL,
    ALTER COLUMN batch_bodies SET STORAGE EXTERNAL;
CREATE INDEX outbox_service ON outbox (service, id);
COMMENT ON TABLE outbox IS
    'Events that are committed and not yet published. A row is deleted when the broker has acknowledged its events.';
COMMENT ON COLUMN outbox.service IS 'The service that publishes the events.';
COMMENT ON COLUMN outbox.event_count IS 'The number of events in this row.';

CREATE TABLE dead_letters (
    stream     text        NOT NULL,
    sequence   bigint      NOT NULL,
    index      smallint,
    service    text        NOT NULL,
    reason     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (stream, sequence, index)
);
COMMENT ON TABLE dead_letters IS
    'Messages, and ticks of messages, that a service has given up. Two services that give up the same one make one dead letter.';
COMMENT ON COLUMN dead_letters.index IS 'The index of the tick in its page; null where the whole message was given up.';

-- Price history --------------------------------------------------------------------------------------------------------

CREATE TABLE instruments (
    id         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol     text    NOT NULL COLLATE "C",
    venue      text    NOT NULL COLLATE "C",
    is_primary boolean NOT NULL,
    UNIQUE (symbol, venue)
);
CREATE UNIQUE INDEX instruments_primary ON instruments (symbol) WHERE is_primary;
COMMENT ON TABLE instruments IS 'One symbol at one venue.';
COMMENT ON COLUMN instruments.is_primary IS
    'The venue quoted the symbol first. It stays the primary one: sequences of the stream would begin anew with the stream.';

-- The columns are in an order in which no row has padding.
CREATE TABLE ticks (
    at            timestamptz NOT NULL,
    received_at   timestamptz NOT NULL,
    sequence      bigint      NOT NULL,
    instrument_id integer     NOT NULL,
    index         smallint    NOT NULL,
    kind          "char"      NOT NULL,
    source        "char"      NOT NULL,
    price         numeric     NOT NULL CHECK (price > 0),
    size          numeric     CHECK (size >= 0),
    trade_id      text        NOT NULL COLLATE "C",
    PRIMARY KEY (instrument_id, at, trade_id)
) PARTITION BY RANGE (at);
COMMENT ON TABLE ticks IS
    'Every tick once: a repeat has the same instrument, time and trade id. Partitioned by month; the history-writer creates partitions ahead.';
COMMENT ON COLUMN ticks.sequence IS 'The sequence in stream TICKS of the page that brought the tick first.';
COMMENT ON COLUMN ticks.index IS 'The index of the tick in that page, from 0. Of ticks of one time, the one of the lower (sequence, index) came first.';
COMMENT ON COLUMN ticks.trade_id IS
    'The id of the tick. One that is derived from the time of the tick is stored without it, from the slash behind it on.';
COMMENT ON COLUMN ticks.kind IS 't for a trade, q for a quote, p for a polled price.';
COMMENT ON COLUMN ticks.source IS 'l for live, b for a backfill, f for a file, s for the simulator.';

CREATE TABLE dropped_tick_months (
    first_day date PRIMARY KEY
);
COMMENT ON TABLE dropped_tick_months IS
    'The months whose partition of ticks was dropped. Their ticks are in the candles, and a repeat of one could no longer be recognised: the history-writer takes none of such a month.';

CREATE TABLE archived_days (
    instrument_id integer     NOT NULL REFERENCES instruments,
    day           date        NOT NULL,
    ticks         bigint      NOT NULL CHECK (ticks > 0),
    verified_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (instrument_id, day)
);
COMMENT ON TABLE archived_days IS
    'The days whose ticks are in the archive, as the archiver has compared them last. Where the archive is required, a month is dropped only when each of its days has as many ticks as here.';

CREATE TABLE latest_prices (
    instrument_id integer     PRIMARY KEY REFERENCES instruments,
    price         numeric     NOT NULL,
    size          numeric,
    at            timestamptz NOT NULL,
    sequence      bigint      NOT NULL,
    index         smallint    NOT NULL,
    late_ticks    bigint      NOT NULL DEFAULT 0
);
COMMENT ON TABLE latest_prices IS 'The newest tick of each instrument by (at, sequence, index).';
COMMENT ON COLUMN latest_prices.late_ticks IS
    'The number of ticks that have changed a candle of the instrument after its close. While it stays, so do all candles that end by column at.';

CREATE TABLE candles (
    instrument_id    integer     NOT NULL REFERENCES instruments,
    interval_seconds integer     NOT NULL,
    start            timestamptz NOT NULL,
    open             numeric     NOT NULL,
    open_at          timestamptz NOT NULL,
    open_sequence    bigint      NOT NULL,
    open_index       smallint    NOT NULL,
    high             numeric     NOT NULL,
    low              numeric     NOT NULL,
    close            numeric     NOT NULL,
    close_at         timestamptz NOT NULL,
    close_sequence   bigint      NOT NULL,
    close_index      smallint    NOT NULL,
    volume           numeric     NOT NULL,
    trades           bigint      NOT NULL,
    revision         bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (instrument_id, interval_seconds, start)
);
COMMENT ON TABLE candles IS
    'Candles by the time that their interval starts. Open and close are the first and last tick by (time, sequence, index), so that late ticks correct a candle in any order.';
COMMENT ON COLUMN candles.trades IS 'The number of ticks.';
COMMENT ON COLUMN candles.revision IS 'The number of ticks that have changed the candle after its close, 0 where none came late.';

-- A partition can be created and dropped by its table's owner alone. The history-writer may call these functions instead of
-- owning the table: they handle the months of this one table and nothing else.

-- Creates the partition of the month that begins with first_day, unless it exists.
CREATE FUNCTION create_ticks_partition(first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    IF extract(day FROM first_day) <> 1 THEN
        RAISE EXCEPTION '% is not the first day of a month', first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.ticks FOR VALUES FROM (%L) TO (%L)',
                   to_char(first_day, '"ticks_"YYYY_MM'), first_day::timestamptz,
                   (first_day + interval '1 month')::timestamptz);
END $$;

-- Drops the partition of that month with its ticks and remembers the month; candles stay.
CREATE FUNCTION drop_ticks_partition(first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
    INSERT INTO public.dropped_tick_months VALUES (drop_ticks_partition.first_day) ON CONFLICT DO NOTHING;
    EXECUTE format('DROP TABLE public.%I', to_char(first_day, '"ticks_"YYYY_MM'));
END $$;

-- Feeds of exchanges ---------------------------------------------------------------------------------------------------

CREATE TABLE feed_venues (
    venue       text        PRIMARY KEY COLLATE "C",
    revision    bigint      NOT NULL DEFAULT 0,
    symbols     text[]      NOT NULL DEFAULT '{}' COLLATE "C",
    reported_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE feed_venues IS
    'The exchanges that price-ingestors follow. The settings name the symbols when the row is made; from then on table feeds says which are followed.';
COMMENT ON COLUMN feed_venues.revision IS 'Counts the changes of the feeds of the exchange.';
COMMENT ON COLUMN feed_venues.symbols IS 'What the exchange lists, in our spelling and sorted.';
COMMENT ON COLUMN feed_venues.reported_at IS 'When the price-ingestor that follows it has saved the state of its feeds.';

CREATE TABLE feeds (
    venue     text    NOT NULL COLLATE "C" REFERENCES feed_venues,
    symbol    text    NOT NULL COLLATE "C",
    is_paused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE feeds IS 'The symbols that are followed at each exchange, as operators want it.';

CREATE TABLE feed_states (
    venue             text        NOT NULL COLLATE "C",
    symbol            text        NOT NULL COLLATE "C",
    state             text        NOT NULL DEFAULT 'starting'
                      CHECK (state IN ('starting', 'live', 'stale', 'reconnecting', 'refused')),
    detail            text,
    trades_per_minute bigint      NOT NULL DEFAULT 0,
    last_id           bigint,
    last_at           timestamptz,
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE feed_states IS
    'How each feed is, and how far it was published. It is written after the ticks are acknowledged, so that it lags and never leads: what is fetched again is a repeat.';
COMMENT ON COLUMN feed_states.detail IS 'Why the feed is not live, in the words of the exchange where it refuses the symbol.';
COMMENT ON COLUMN feed_states.last_id IS
    'The last id that was published or is in a gap; null where the ids of the exchange say nothing about what was missed. last_at is the time of the last trade.';

CREATE TABLE feed_gaps (
    venue            text        NOT NULL COLLATE "C",
    symbol           text        NOT NULL COLLATE "C",
    lower_bound      bigint      NOT NULL,
    revision         integer     NOT NULL DEFAULT 1,
    bounds           text        NOT NULL CHECK (bounds IN ('ids', 'times')),
    gap_from         timestamptz NOT NULL,
    gap_to           timestamptz,
    first_missing_id bigint,
    last_missing_id  bigint,
    reason           text        NOT NULL CHECK (reason IN ('disconnected', 'stale', 'missed_ids', 'down')),
    state            text        NOT NULL CHECK (state IN ('open', 'filling', 'filled', 'unfillable')),
    filled           bigint      NOT NULL DEFAULT 0,
    document         jsonb,
    PRIMARY KEY (venue, symbol, lower_bound)
);
CREATE INDEX feed_gaps_open ON feed_gaps (venue, symbol) WHERE state IN ('open', 'filling');
CREATE INDEX feed_gaps_symbol ON feed_gaps (symbol, venue, gap_from);
COMMENT ON TABLE feed_gaps IS 'Trades that were missed, and what became of them.';
COMMENT ON COLUMN feed_gaps.lower_bound IS
    'What the gap begins with: the first id that is missing or, where ids say nothing, a time in microseconds since 1970.';
COMMENT ON COLUMN feed_gaps.revision IS 'Counts the reports that were published about the gap.';
COMMENT ON COLUMN feed_gaps.document IS 'What the price-ingestor needs to go on with the gap after a restart; null once the gap is final.';

CREATE TABLE feed_gap_changes (
    venue   text   NOT NULL COLLATE "C",
    symbol  text   NOT NULL COLLATE "C",
    changes bigint NOT NULL,
    PRIMARY KEY (venue, symbol)
);
COMMENT ON TABLE feed_gap_changes IS
    'How often the gaps of each market have changed. While the number stays, so does what candles say about missing trades.';

-- Rules and firings ----------------------------------------------------------------------------------------------------

CREATE TABLE rules (
    id                uuid        PRIMARY KEY,
    revision          bigint      NOT NULL DEFAULT 1,
    status            text        NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'deleted')),
    rule              jsonb       NOT NULL,
    manage_token_hash bytea       NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    user_id           uuid
);
CREATE INDEX rules_user ON rules (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX rules_address ON rules (lower(rule #>> '{notify,email}'));
-- The markets that rules watch, and the rules of a market: whether a market is silent is asked for each market once.
CREATE INDEX rules_market ON rules ((rule ->> 'symbol'), (coalesce(rule ->> 'venue', ''))) WHERE status = 'active';
COMMENT ON TABLE rules IS
    'Alert rules as the gateway writes them: the rule, of which only the venue changes, and the status that its owner wants.';
COMMENT ON COLUMN rules.revision IS 'Counts the changes of the rule from 1.';
COMMENT ON COLUMN rules.user_id IS 'The account that owns the rule; null for a rule that only its token manages.';

CREATE TABLE rule_states (
    rule_id         uuid        PRIMARY KEY REFERENCES rules,
    revision        bigint      NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'done', 'expired', 'deleted')),
    active_after    bigint      NOT NULL,
    active_since    timestamptz NOT NULL,
    reference_price numeric,
    reference_at    timestamptz,
    firing_count    bigint      NOT NULL DEFAULT 0,
    last_fired_at   timestamptz,
    venue           text
);
CREATE INDEX rule_states_active ON rule_states (rule_id) WHERE status = 'active';
COMMENT ON TABLE rule_states IS
    'The state that the alert-engine keeps of each rule: the revision that it has applied, the baseline and the number of firings.';
COMMENT ON COLUMN rule_states.active_after IS 'Ticks up to this sequence of stream TICKS are not evaluated.';
COMMENT ON COLUMN rule_states.active_since IS
    'The time of the change that made the rule active: in a gap that began before, it would have seen only the ticks from then on.';
COMMENT ON COLUMN rule_states.venue IS 'The venue that the rule names in the revision that the engine has applied; null for the primary venue.';
COMMENT ON COLUMN rule_states.firing_count IS 'The number of firings, suppressed ones included.';

CREATE TABLE firings (
    rule_id         uuid        NOT NULL REFERENCES rules,
    number          bigint      NOT NULL,
    symbol          text        NOT NULL,
    venue           text        NOT NULL,
    fired_at        timestamptz NOT NULL,
    price           numeric     NOT NULL,
    reference_price numeric,
    reference_at    timestamptz,
    change_percent  numeric,
    trade_id        text        NOT NULL,
    sequence        bigint      NOT NULL,
    index           smallint    NOT NULL,
    suppressed      text,
    incomplete_since timestamptz,
    saved_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (rule_id, number)
);
COMMENT ON TABLE firings IS 'Each time that a rule has fired, numbered from 1 for each rule.';
COMMENT ON COLUMN firings.trade_id IS
    'The id of the tick that fired; it is at (sequence, index) of stream TICKS.';
COMMENT ON COLUMN firings.saved_at IS
    'When the firing was saved, by the clock of the database: fired_at is the time of the tick, which a recording has of long ago.';
COMMENT ON COLUMN firings.incomplete_since IS
    'The time since which ticks of the market were missing when the rule fired; null when none were.';
COMMENT ON COLUMN firings.suppressed IS 'Why the firing sends no notification; null when it sends one.';

CREATE TABLE market_states (
    symbol        text        NOT NULL COLLATE "C",
    venue         text        NOT NULL COLLATE "C",
    is_primary    boolean     NOT NULL,
    last_sequence bigint      NOT NULL,
    last_at       timestamptz NOT NULL,
    last_price    numeric     NOT NULL,
    newest_ids    jsonb       NOT NULL,
    evaluated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (symbol, venue)
);
CREATE UNIQUE INDEX market_states_primary ON market_states (symbol) WHERE is_primary;
COMMENT ON TABLE market_states IS 'The last tick of each market that the alert-engine has evaluated.';
COMMENT ON COLUMN market_states.is_primary IS 'The venue quoted the symbol first: rules that name no venue watch it, from then on.';
COMMENT ON COLUMN market_states.newest_ids IS
    'The ids of the evaluated ticks that have the time last_at. A tick of this time with one of these ids is a repeat.';
COMMENT ON COLUMN market_states.evaluated_at IS
    'When the last tick was evaluated, by the clock of the database: last_at is the time of the tick itself, which a recording has of long ago.';

CREATE TABLE market_samples (
    symbol        text        NOT NULL COLLATE "C",
    venue         text        NOT NULL COLLATE "C",
    grain_seconds integer     NOT NULL,
    slot          bigint      NOT NULL,
    at            timestamptz NOT NULL,
    price         numeric     NOT NULL,
    PRIMARY KEY (symbol, venue, grain_seconds, slot)
);
COMMENT ON TABLE market_samples IS
    'The prices that the alert-engine''s windows look back to: the last evaluated price at or before each slot.';
COMMENT ON COLUMN market_samples.slot IS 'slot * grain_seconds is Unix time.';

CREATE TABLE market_gaps (
    gap_id      text        PRIMARY KEY COLLATE "C",
    symbol      text        NOT NULL COLLATE "C",
    venue       text        NOT NULL COLLATE "C",
    revision    integer     NOT NULL,
    gap_from    timestamptz NOT NULL,
    gap_to      timestamptz,
    stage       text        NOT NULL CHECK (stage IN ('missing', 'known', 'judged')),
    known_until bigint      NOT NULL DEFAULT 0,
    is_complete boolean     NOT NULL DEFAULT false,
    saved_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX market_gaps_unjudged ON market_gaps (gap_id) WHERE stage <> 'judged';
CREATE INDEX market_gaps_saved ON market_gaps (saved_at) WHERE stage = 'judged';
COMMENT ON TABLE market_gaps IS
    'The gaps in the ticks of markets, as the alert-engine has read about them, until what rules would have decided in them is judged. A judged one stays for as long as stream FEEDS may say it again.';
COMMENT ON COLUMN market_gaps.known_until IS
    'A gap is judged when the history has stream TICKS up to this sequence, and so all of its ticks.';
COMMENT ON COLUMN market_gaps.is_complete IS 'Whether the venue has offered all trades of the gap.';

CREATE TABLE late_verdicts (
    rule_id  uuid        NOT NULL REFERENCES rules,
    gap_id   text        NOT NULL COLLATE "C",
    verdict  jsonb       NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (rule_id, gap_id)
);
CREATE INDEX late_verdicts_gap ON late_verdicts (gap_id);
COMMENT ON TABLE late_verdicts IS
    'What rules would have decided in gaps whose ticks were filled in afterwards: one row for each rule and gap in which it would have fired without a firing that has reported it.';
COMMENT ON COLUMN late_verdicts.verdict IS 'The event late-verdict.v1 without its targets.';

-- Users ----------------------------------------------------------------------------------------------------------------

CREATE TABLE sign_ups (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz,
    contested     boolean     NOT NULL DEFAULT false
);
CREATE INDEX sign_ups_expired ON sign_ups (expires_at);
CREATE INDEX sign_ups_email ON sign_ups (lower(email), created_at);
COMMENT ON TABLE sign_ups IS
    'Requests for an account, until the link in the mail is followed. A row is also inserted for the address of an existing account, where no link leads to it: both must take the same time.';
COMMENT ON COLUMN sign_ups.contested IS
    'Whether several sign-ups with this address have been open at a time. Each has its own password, and only one of them is the owner''s: then the link alone does not suffice.';

CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    role          text        NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'operator')),
    created_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (lower(email));
COMMENT ON TABLE users IS
    'Accounts with a confirmed address. Erasing a user deletes the row; the id stays in the ledger as a pseudonym.';
COMMENT ON COLUMN users.password_hash IS 'An Argon2id hash in PHC string format.';

CREATE TABLE sessions (
    token_hash bytea       PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expired ON sessions (expires_at);
COMMENT ON TABLE sessions IS 'Signed-in sessions by the SHA-256 hash of their token.';

CREATE TABLE api_keys (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    name         text        NOT NULL,
    scopes       text[]      NOT NULL CHECK (scopes <@ ARRAY['read', 'trade', 'alerts'] AND cardinality(scopes) > 0),
    token_hash   bytea       NOT NULL UNIQUE,
    created_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);
CREATE INDEX api_keys_user ON api_keys (user_id);
COMMENT ON TABLE api_keys IS 'API keys by the SHA-256 hash of their token, with the scopes that they grant.';

CREATE TABLE password_resets (
    id           uuid        PRIMARY KEY,
    user_id      uuid        REFERENCES users ON DELETE CASCADE,
    address_hash bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz
);
CREATE INDEX password_resets_user ON password_resets (user_id);
CREATE INDEX password_resets_address ON password_resets (address_hash, created_at);
CREATE INDEX password_resets_created ON password_resets (created_at);
CREATE INDEX password_resets_expired ON password_resets (expires_at);
COMMENT ON TABLE password_resets IS
    'Requests for a new password. For an address without an account there is a row without a user: both must take the same time.';

CREATE TABLE login_attempts (
    kind           text        NOT NULL COLLATE "C"
                   CHECK (kind IN ('login', 'login_any_network', 'password_change', 'sign_up', 'password_reset')),
    subject_hash   bytea       NOT NULL,
    network        text        NOT NULL COLLATE "C",
    failure_count  integer     NOT NULL,
    last_failed_at timestamptz NOT NULL,
    PRIMARY KEY (subject_hash, kind, network)
);
CREATE INDEX login_attempts_last ON login_attempts (last_failed_at);
COMMENT ON TABLE login_attempts IS
    'Attempts that have failed in a row, by what was attempted and, for some kinds, from which network: guesses from elsewhere must not lock the owner out.';
COMMENT ON COLUMN login_attempts.subject_hash IS 'The SHA-256 hash of an address, an id or a network.';

-- Notifications --------------------------------------------------------------------------------------------------------

CREATE TABLE deliveries (
    id              uuid        PRIMARY KEY,
    kind            text        NOT NULL CHECK (kind IN ('alert', 'late', 'confirmation', 'silence', 'account', 'trade')),
    source_id       text        NOT NULL,
    rule_id         uuid,
    channel         text        NOT NULL CHECK (channel IN ('email')),
    address         text        NOT NULL,
    content         jsonb       NOT NULL,
    traceparent     text,
    status          text        NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'sent', 'failed')),
    attempt_count   integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    waits_for_server text,
    UNIQUE (source_id, channel, address)
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status = 'waiting';
CREATE INDEX deliveries_of_rule ON deliveries (rule_id, created_at DESC) WHERE rule_id IS NOT NULL;
CREATE INDEX deliveries_unsent ON deliveries (status) WHERE status <> 'sent';
CREATE INDEX deliveries_waiting_for_server ON deliveries (waits_for_server) WHERE waits_for_server IS NOT NULL;
CREATE INDEX deliveries_address ON deliveries (lower(address));
COMMENT ON TABLE deliveries IS 'One message to one recipient.';
COMMENT ON COLUMN deliveries.attempt_count IS
    'The number of attempts that have begun. It is counted before the attempt: where it is above the number of rows in delivery_attempts, an attempt is running, or its process ended before the outcome was recorded.';
COMMENT ON COLUMN deliveries.waits_for_server IS
    'The server that did not answer the last attempt or refused this client, which is no refusal of the message. The next message that this server takes makes the delivery due.';
COMMENT ON COLUMN deliveries.source_id IS
    'The id of what the message is about: of an alert, a gap, a rule to confirm, the silence of a rule''s market, an account notice or an order event.';

CREATE TABLE delivery_attempts (
    delivery_id uuid        NOT NULL REFERENCES deliveries,
    attempt     integer     NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('sent', 'retrying', 'unknown', 'failed')),
    detail      text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);
COMMENT ON TABLE delivery_attempts IS 'Each attempt at a delivery, numbered from 1, and its outcome.';

CREATE TABLE channel_states (
    channel          text        PRIMARY KEY CHECK (channel IN ('email')),
    last_accepted_at timestamptz,
    failing_since    timestamptz,
    is_server_away   boolean     NOT NULL DEFAULT false,
    refused_count    integer     NOT NULL DEFAULT 0,
    last_error       text        NOT NULL DEFAULT ''
);
INSERT INTO channel_states (channel) VALUES ('email');
COMMENT ON TABLE channel_states IS
    'Whether messages go out on each channel, as the notifiers see it.';
COMMENT ON COLUMN channel_states.last_accepted_at IS
    'When a server has last accepted a message, to 10 seconds: a row that every attempt changed would make all of them wait for each other.';
COMMENT ON COLUMN channel_states.failing_since IS
    'When the first attempt failed since the last message that was accepted; null while none has.';
COMMENT ON COLUMN channel_states.is_server_away IS
    'Whether the server has not answered since, or has refused this client, which is no refusal of a message.';
COMMENT ON COLUMN channel_states.refused_count IS
    'The number of new messages that failed since.';

CREATE TABLE batched_sources (
    source_id   text PRIMARY KEY COLLATE "C",
    delivery_id uuid NOT NULL
);
COMMENT ON TABLE batched_sources IS
    'Order mails are batched per user: the events that a delivery covers besides the one that deliveries.source_id names. An event that is read again is not notified again.';

-- Trading: the ledger in double entry ----------------------------------------------------------------------------------
--
-- The database itself refuses what must never happen, whoever asks:
--   * a transfer takes from one account what it gives to another, so that the sum over all accounts of an asset is zero;
--   * a balance changes by a transfer and in no other way: a trigger moves it, and no service's role may;
--   * what is available and what is held is never negative, nor are fees;
--   * a posting sums to zero for each asset, its number follows the one before it, and it carries that one's hash;
--   * rows of assets, postings, transfers and trades are never changed, also not by the owner of the tables.
--
-- Amounts have bounds. To PostgreSQL 'NaN' is above every number and so above zero: a lower bound alone lets it in, and a
-- balance that it has moved is 'NaN' for good. Below 10^16 whole units and with at most 12 decimal places an amount has 28
-- digits, which is what the services calculate with; more could be stored, and then be read by nobody. A price is below 10^14
-- and has up to 18 decimal places, but no more than 28 digits. A time that is 'infinity' cannot be read either.

CREATE TABLE assets (
    code  text     PRIMARY KEY COLLATE "C" CHECK (code ~ '^[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?$'),
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 12),
    quote text     COLLATE "C" REFERENCES assets
);
COMMENT ON TABLE assets IS 'The assets that accounts may hold, and how many decimal places an amount of each has.';
COMMENT ON COLUMN assets.quote IS
    'The currency in which a share is traded, where an order names none; null for a currency and a coin.';
INSERT INTO assets (code, scale) VALUES
    ('USD', 2), ('EUR', 2), ('GBP', 2), ('CHF', 2), ('JPY', 0), ('USDT', 6), ('USDC', 6),
    ('BTC', 8), ('ETH', 8), ('XRP', 6), ('LTC', 8), ('BCH', 8), ('SOL', 9), ('ADA', 6), ('DOGE', 8), ('DOT', 10);
INSERT INTO assets (code, scale, quote) VALUES
    ('SPY', 6, 'USD'), ('QQQ', 6, 'USD'), ('AAPL', 6, 'USD'), ('MSFT', 6, 'USD'),
    ('GOOG', 6, 'USD'), ('AMZN', 6, 'USD'), ('TSLA', 6, 'USD'), ('NVDA', 6, 'USD');

CREATE TABLE accounts (
    id      bigint  PRIMARY KEY,
    kind    text    NOT NULL COLLATE "C" CHECK (kind IN ('available', 'held', 'house', 'fees', 'issued')),
    user_id uuid,
    asset   text    NOT NULL COLLATE "C" REFERENCES assets,
    balance numeric NOT NULL DEFAULT 0,
    hash    bytea   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (user_id, asset, kind),
    CHECK ((user_id IS NOT NULL) = (kind IN ('available', 'held'))),
    CONSTRAINT balance_not_negative CHECK (balance >= 0 OR kind IN ('house', 'issued')),
    CONSTRAINT amounts_in_range CHECK (balance > -1e16 AND balance < 1e16)
) WITH (fillfactor = 80);
COMMENT ON TABLE accounts IS
    'Accounts of the ledger. available and held belong to a user; issued is where deposits come from; house is the counterparty of every trade.';
COMMENT ON COLUMN accounts.hash IS 'The SHA-256 hash of what the account is, so that a changed row is found.';

CREATE TABLE postings (
    id            bigint      PRIMARY KEY CHECK (id > 0),
    kind          text        NOT NULL COLLATE "C" CHECK (kind IN ('deposit', 'hold', 'release', 'fill')),
    user_id       uuid        NOT NULL,
    cause         uuid        NOT NULL,
    at            timestamptz NOT NULL,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL,
    CONSTRAINT time_is_finite CHECK (isfinite(at))
);
CREATE INDEX postings_user ON postings (user_id, id);
-- A deposit that is requested twice is posted once.
CREATE UNIQUE INDEX postings_deposit ON postings (cause) WHERE kind = 'deposit';
COMMENT ON TABLE postings IS
    'Transfers that happen together. Each posting carries the hash of the one before it, so that the ledger is a hash chain.';
COMMENT ON COLUMN postings.cause IS 'The id of the order or the deposit.';

CREATE TABLE transfers (
    posting_id   bigint   NOT NULL,
    number       smallint NOT NULL CHECK (number > 0),
    asset        text     NOT NULL COLLATE "C",
    from_account bigint   NOT NULL,
    to_account   bigint   NOT NULL CHECK (to_account <> from_account),
    amount       numeric  NOT NULL,
    hash         bytea    NOT NULL,
    PRIMARY KEY (posting_id, number),
    CONSTRAINT amounts_in_range CHECK (amount > 0 AND amount < 1e16)
);
COMMENT ON TABLE transfers IS 'An amount of an asset that goes from one account to another, numbered from 1 in its posting.';

CREATE TABLE posting_batches (
    first_posting bigint      PRIMARY KEY,
    last_posting  bigint      NOT NULL CHECK (last_posting >= first_posting),
    posted_at     timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE posting_batches IS
    'Which postings were added together: they are checked at the end of their transaction, and the last one is the end of the ledger for whoever verifies it.';

CREATE TABLE orders (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    terms           jsonb       NOT NULL,
    rule_id         uuid        UNIQUE,
    client_order_id text        COLLATE "C",
    idempotency_key text        COLLATE "C",
    fingerprint     bytea       NOT NULL,
    placed_at       timestamptz NOT NULL
);
CREATE INDEX orders_user ON orders (user_id, id);
CREATE UNIQUE INDEX orders_client_order_id ON orders (user_id, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE UNIQUE INDEX orders_idempotency_key ON orders (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
COMMENT ON TABLE orders IS 'Orders as their owners placed them.';
COMMENT ON COLUMN orders.rule_id IS 'The rule whose first firing places the order.';
COMMENT ON COLUMN orders.fingerprint IS
    'The SHA-256 hash of the terms: a request with the same key and other terms is a conflict.';

CREATE TABLE order_idempotency_keys (
    user_id         uuid NOT NULL,
    idempotency_key text NOT NULL COLLATE "C",
    order_id        uuid NOT NULL REFERENCES orders,
    PRIMARY KEY (user_id, idempotency_key)
);
CREATE INDEX order_idempotency_keys_order ON order_idempotency_keys (order_id);
COMMENT ON TABLE order_idempotency_keys IS
    'Further idempotency keys of an order: a repeated request that was recognised by its client_order_id may have a key of its own, which then names that order and no other.';

CREATE TABLE order_states (
    order_id               uuid        PRIMARY KEY,
    user_id                uuid        NOT NULL,
    revision               integer     NOT NULL CHECK (revision > 0),
    status                 text        NOT NULL COLLATE "C"
                           CHECK (status IN ('open', 'filled', 'cancelled', 'expired', 'rejected')),
    reason                 text        COLLATE "C",
    queue_rank             bigint      NOT NULL,
    held_asset             text        COLLATE "C",
    held                   numeric     NOT NULL DEFAULT 0,
    awaiting_alert_rule_id uuid,
    awaiting_alert_until   timestamptz,
    tick_sequence          bigint      NOT NULL,
    updated_at             timestamptz NOT NULL,
    CHECK ((held > 0) = (status = 'open')),
    CONSTRAINT amounts_in_range CHECK (held >= 0 AND held < 1e16 AND held = round(held, 12)),
    CONSTRAINT reject_reason_known CHECK (
        (reason IS NOT NULL) = (status = 'rejected')
        AND (reason IS NULL OR reason IN ('insufficient_funds', 'no_price', 'stale_price', 'unknown_symbol', 'too_precise',
                                          'too_small', 'too_large', 'too_many_open_orders')))
);
CREATE INDEX order_states_open ON order_states (order_id) WHERE status = 'open';
COMMENT ON TABLE order_states IS
    'The state of each order that the trade-settler has decided. An order without a row here has the status received.';
COMMENT ON COLUMN order_states.queue_rank IS 'The FIFO rank among open orders at one price.';
COMMENT ON COLUMN order_states.held IS 'The amount that the order holds while it is open.';
COMMENT ON COLUMN order_states.awaiting_alert_rule_id IS
    'The rule whose firing the order still waits for; awaiting_alert_until is when that rule expires.';
COMMENT ON COLUMN order_states.tick_sequence IS 'The last page of ticks that was applied before this state was decided.';

CREATE TABLE trades (
    order_id      uuid        PRIMARY KEY,
    posting_id    bigint      NOT NULL,
    user_id       uuid        NOT NULL,
    symbol        text        NOT NULL COLLATE "C",
    side          text        NOT NULL COLLATE "C" CHECK (side IN ('buy', 'sell')),
    size          numeric     NOT NULL,
    price         numeric     NOT NULL,
    quote_amount  numeric     NOT NULL,
    fee           numeric     NOT NULL,
    fee_bp        integer     NOT NULL,
    tick_id       text        NOT NULL COLLATE "C",
    tick_sequence bigint      NOT NULL,
    tick_index    smallint    NOT NULL,
    tick_price    numeric     NOT NULL,
    tick_at       timestamptz NOT NULL,
    at            timestamptz NOT NULL,
    hash          bytea       NOT NULL,
    CONSTRAINT amounts_in_range CHECK (
        size > 0 AND size < 1e16 AND size = round(size, 12)
        AND price > 0 AND price < 1e14 AND price = round(price, least(18, 28 - length(trunc(price)::text)))
        AND quote_amount > 0 AND quote_amount < 1e16 AND quote_amount = round(quote_amount, 12)
        AND fee >= 0 AND fee < 1e16 AND fee = round(fee, 12)
        AND tick_price > 0 AND tick_price < 1e14
        AND tick_price = round(tick_price, least(18, 28 - length(trunc(tick_price)::text)))),
    CONSTRAINT time_is_finite CHECK (isfinite(at) AND isfinite(tick_at))
);
CREATE INDEX trades_user ON trades (user_id, posting_id);
COMMENT ON TABLE trades IS 'The trade of each filled order. An order trades once, as a whole.';
COMMENT ON COLUMN trades.quote_amount IS 'The amount of the quote asset before the fee.';
COMMENT ON COLUMN trades.fee_bp IS 'The rate of the fee, in basis points of the quote amount before rounding.';
COMMENT ON COLUMN trades.tick_id IS
    'The id of the tick that priced the trade; tick_price is its price, and tick_at its time. It was at (tick_sequence, tick_index) of stream TICKS.';
COMMENT ON COLUMN trades.hash IS 'The SHA-256 hash of all other columns.';

CREATE TABLE deposits (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL,
    asset        text        NOT NULL COLLATE "C" REFERENCES assets,
    amount       numeric     NOT NULL,
    reference    text        UNIQUE,
    requested_by text        NOT NULL,
    requested_at timestamptz NOT NULL,
    CONSTRAINT amounts_in_range CHECK (amount > 0 AND amount < 1e16 AND amount = round(amount, 12))
);
COMMENT ON TABLE deposits IS
    'Deposits that operators requested. A deposit is done when there is a posting of it. The same reference is the same deposit.';

CREATE TABLE settlement_markets (
    symbol text        NOT NULL COLLATE "C",
    venue  text        NOT NULL COLLATE "C",
    at     timestamptz NOT NULL,
    ids    jsonb       NOT NULL,
    PRIMARY KEY (symbol, venue)
);
COMMENT ON TABLE settlement_markets IS
    'The newest time of each market that the trade-settler has applied, and the ids of its ticks at that time. A tick of this time with one of these ids is a repeat, and an older one is late.';

CREATE TABLE settlement_prices (
    symbol     text        NOT NULL COLLATE "C",
    venue      text        NOT NULL COLLATE "C",
    is_primary boolean     NOT NULL,
    tick_id    text        NOT NULL COLLATE "C",
    price      numeric     NOT NULL,
    at         timestamptz NOT NULL,
    sequence   bigint      NOT NULL,
    index      smallint    NOT NULL,
    PRIMARY KEY (symbol, venue),
    CONSTRAINT amounts_in_range CHECK (
        price > 0 AND price < 1e14 AND price = round(price, least(18, 28 - length(trunc(price)::text))))
);
CREATE UNIQUE INDEX settlement_prices_primary ON settlement_prices (symbol) WHERE is_primary;
COMMENT ON TABLE settlement_prices IS 'The newest tick of each symbol at each venue that the trade-settler has applied.';
COMMENT ON COLUMN settlement_prices.is_primary IS 'The venue quoted the symbol first: orders that name no venue trade there.';

-- Trading: what guards the ledger --------------------------------------------------------------------------------------
--
-- These functions run for every batch of the settler: each asks once, through indexes, whatever the planner believes about
-- tables that were empty a moment ago, and is planned once for a connection. They run with the rights of the tables' owner,
-- so that no service needs the right to change a balance.

-- Rejects a batch when another instance has moved one of its consumers or decided one of its orders, in the statement that
-- writes all of it: the batch is then read and decided anew.
CREATE FUNCTION fence(holds boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'another instance has moved a consumer or decided an order' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

-- Moves balances by the transfers that a statement adds. All transfers of a posting are added by one statement of the
-- transaction that adds the posting: the check at the end of a transaction can be called before its end (SET CONSTRAINTS ALL
-- IMMEDIATE), and a posting that has passed it must not grow.
CREATE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    exact boolean;
    own boolean;
    whole boolean;
    moved boolean;
BEGIN
    WITH look AS MATERIALIZED (
        SELECT bool_and(coalesce(added.amount = round(added.amount, assets.scale), false)) AS exact,
               bool_and(postings.xmin IS NOT DISTINCT FROM pg_current_xact_id()::xid) AS own,
               min(added.posting_id) AS first_posting, max(added.posting_id) AS last_posting, count(*) AS transfers
        FROM added LEFT JOIN assets ON assets.code = added.asset LEFT JOIN postings ON postings.id = added.posting_id
    ), sides AS (
        SELECT from_account AS id, asset, -amount AS amount FROM added
        UNION ALL
        SELECT to_account, asset, amount FROM added
    ), changes AS MATERIALIZED (
        SELECT id, asset, sum(amount) AS amount FROM sides GROUP BY id, asset
    ), done AS (
        UPDATE accounts SET balance = accounts.balance + changes.amount FROM changes
        WHERE accounts.id = changes.id AND accounts.asset = changes.asset
        RETURNING 1
    )
    SELECT look.exact, look.own,
           look.transfers = (SELECT count(*) FROM transfers
                             WHERE posting_id BETWEEN look.first_posting AND look.last_posting),
           (SELECT count(*) FROM changes) = (SELECT count(*) FROM done)
    INTO exact, own, whole, moved FROM look;
    IF NOT exact THEN
        RAISE EXCEPTION 'a transfer has an unknown asset, or more decimal places than its asset'
            USING ERRCODE = 'check_violation';
    END IF;
    IF NOT own THEN
        RAISE EXCEPTION 'a transfer belongs to a posting that this transaction has not added'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF NOT whole THEN
        RAISE EXCEPTION 'a transfer belongs to a posting that has others already' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT moved THEN
        RAISE EXCEPTION 'a transfer names an account that does not exist or is not of its asset'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_balances AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION move_balances();

-- Checks that every posting of a statement follows the one before it by number and by hash, and records the batch.
CREATE FUNCTION check_hash_chain() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    broken boolean;
BEGIN
    WITH batch AS (
        INSERT INTO posting_batches (first_posting, last_posting) SELECT min(id), max(id) FROM added HAVING count(*) > 0
    )
    SELECT bool_or(CASE
        WHEN link.previous_id IS NOT NULL THEN link.previous_id <> link.id - 1 OR link.previous_hash <> link.expected
        WHEN link.id = 1 THEN link.previous_hash <> ''
        ELSE NOT EXISTS (SELECT FROM postings WHERE id = link.id - 1 AND hash = link.previous_hash)
    END)
    INTO broken FROM (SELECT id, previous_hash, lag(id) OVER up AS previous_id, lag(hash) OVER up AS expected
                      FROM added WINDOW up AS (ORDER BY id)) AS link;
    IF broken THEN
        RAISE EXCEPTION 'a posting does not follow the one before it' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_hash_chain AFTER INSERT ON postings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION check_hash_chain();

-- Checks at the end of a transaction that each of its postings moves something and that its sum is zero for each asset: by
-- the assets of the accounts themselves, not by what the transfers say.
CREATE FUNCTION check_postings_balance() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    moving bigint;
    wrong bigint;
BEGIN
    WITH own AS MATERIALIZED (
        SELECT posting_id, from_account, to_account, amount FROM transfers
        WHERE posting_id BETWEEN NEW.first_posting AND NEW.last_posting
    ), sides AS (
        SELECT posting_id, from_account AS account, -amount AS amount FROM own
        UNION ALL
        SELECT posting_id, to_account, amount FROM own
    ), sums AS (
        SELECT sides.posting_id, sum(sides.amount) AS amount FROM sides JOIN accounts ON accounts.id = sides.account
        GROUP BY sides.posting_id, accounts.asset
    )
    SELECT count(DISTINCT posting_id), min(posting_id) FILTER (WHERE amount <> 0) INTO moving, wrong FROM sums;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'posting % does not sum to zero for each asset', wrong USING ERRCODE = 'check_violation';
    END IF;
    IF moving <> NEW.last_posting - NEW.first_posting + 1 THEN
        RAISE EXCEPTION 'one of the postings % to % moves nothing', NEW.first_posting, NEW.last_posting
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_postings_balance AFTER INSERT ON posting_batches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION check_postings_balance();

-- Rejects every change of a row that exists. The scale of an asset is what its amounts were checked by, so assets are
-- append-only too.
CREATE FUNCTION reject_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'A mistake in the ledger is reversed by a new posting.';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON assets
    FOR EACH STATEMENT EXECUTE FUNCTION reject_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON postings
    FOR EACH STATEMENT EXECUTE FUNCTION reject_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION reject_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON trades
    FOR EACH STATEMENT EXECUTE FUNCTION reject_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON posting_batches
    FOR EACH STATEMENT EXECUTE FUNCTION reject_change();

-- What the law grants a user ------------------------------------------------------------------------------------------
--
-- These functions run with the rights of the tables' owner, for whoever may execute them: the gateway answers for all of a
-- user's data, and may neither read nor change deliveries and money.

-- Locks an account until the transaction ends, so that it is not erased while it gets something new; false where there is
-- none. For whoever may not lock a row of users.
CREATE FUNCTION lock_account(account uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM users WHERE id = account FOR KEY SHARE;
    RETURN FOUND;
END $$;

-- Returns all that is stored about whoever reads mail at an address, and about their account. Decimals are text, as
-- everywhere.
CREATE FUNCTION export_user_data(address text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- Null where there is no account: nothing below is then found by it.
    account uuid := (SELECT id FROM users WHERE lower(email) = lower(address));
    document jsonb;
BEGIN
    document := jsonb_build_object(
        'address', address,
        'account', (SELECT to_jsonb(u) - 'password_hash' FROM users u WHERE u.id = account),
        -- Neither the ids of these nor of resets: links in mails are made of them.
        'sign_ups', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'id' - 'password_hash' ORDER BY s.created_at), '[]')
                     FROM sign_ups s WHERE lower(s.email) = lower(address)),
        'sessions', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'token_hash' - 'user_id' ORDER BY s.created_at), '[]')
                     FROM sessions s WHERE s.user_id = account),
        'api_keys', (SELECT coalesce(jsonb_agg(to_jsonb(k) - 'token_hash' - 'user_id' ORDER BY k.created_at), '[]')
                     FROM api_keys k WHERE k.user_id = account),
        'password_resets', (SELECT coalesce(jsonb_agg(to_jsonb(r) - 'id' - 'user_id' - 'address_hash'
                                                      ORDER BY r.created_at), '[]')
                            FROM password_resets r WHERE r.user_id = account),
        -- Somebody else's rule may write to this address; the order that it places is theirs.
        'rules', (SELECT coalesce(jsonb_agg(CASE WHEN r.user_id = account THEN r.rule ELSE r.rule - 'then' END
                                            || jsonb_build_object(
                      'status', r.status, 'created_at', r.created_at, 'updated_at', r.updated_at,
                      'firings', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'rule_id' - 'saved_at' || jsonb_build_object(
                                      'price', f.price::text, 'reference_price', f.reference_price::text,
                                      'change_percent', f.change_percent::text) ORDER BY f.number), '[]')
                                  FROM firings f WHERE f.rule_id = r.id),
                      'late_verdicts', (SELECT coalesce(jsonb_agg(v.verdict - 'rule_id' - 'targets' ORDER BY v.saved_at, v.gap_id), '[]')
                                        FROM late_verdicts v WHERE v.rule_id = r.id)) ORDER BY r.created_at), '[]')
                  FROM rules r WHERE lower(r.rule #>> '{notify,email}') = lower(address) OR r.user_id = account),
        'messages', (SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object(
                         'content', d.content - 'then' - CASE d.kind WHEN 'account' THEN 'subject_id' ELSE '' END,
                         'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
                                      FROM delivery_attempts a WHERE a.delivery_id = d.id)) ORDER BY d.created_at), '[]')
                     FROM deliveries d WHERE lower(d.address) = lower(export_user_data.address)));
    RETURN document || jsonb_build_object(
        'orders', (SELECT coalesce(jsonb_agg(to_jsonb(o) - 'fingerprint' || jsonb_build_object(
                       'other_keys', (SELECT coalesce(jsonb_agg(k.idempotency_key ORDER BY k.idempotency_key), '[]')
                                      FROM order_idempotency_keys k WHERE k.order_id = o.id),
                       'state', (SELECT to_jsonb(s) || jsonb_build_object('held', s.held::text)
                                 FROM order_states s WHERE s.order_id = o.id)) ORDER BY o.id), '[]')
                   FROM orders o WHERE o.user_id = account),
        'trades', (SELECT coalesce(jsonb_agg(to_jsonb(t) - 'hash' || jsonb_build_object(
                       'size', t.size::text, 'price', t.price::text, 'quote_amount', t.quote_amount::text,
                       'fee', t.fee::text, 'tick_price', t.tick_price::text) ORDER BY t.posting_id), '[]')
                   FROM trades t WHERE t.user_id = account),
        'accounts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'hash' || jsonb_build_object('balance', a.balance::text)
                                                 ORDER BY a.asset, a.kind), '[]')
                     FROM accounts a WHERE a.user_id = account),
        'postings', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'hash' - 'previous_hash' || jsonb_build_object(
                         'transfers', (SELECT coalesce(jsonb_agg(to_jsonb(t) - 'posting_id' - 'hash'
                                                                 || jsonb_build_object('amount', t.amount::text)
                                                                 ORDER BY t.number), '[]')
                                       FROM transfers t WHERE t.posting_id = p.id)) ORDER BY p.id), '[]')
                     FROM postings p WHERE p.user_id = account),
        'deposits', (SELECT coalesce(jsonb_agg(to_jsonb(d) - 'requested_by' || jsonb_build_object('amount', d.amount::text)
                                                 ORDER BY d.requested_at), '[]')
                     FROM deposits d WHERE d.user_id = account));
END $$;

-- Replaces an address in the deliveries to it by a pseudonym and empties their content; returns how many there were.
CREATE FUNCTION erase_deliveries(address text, pseudonym text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    UPDATE delivery_attempts SET detail = ''
    WHERE delivery_id IN (SELECT id FROM deliveries d WHERE lower(d.address) = lower(erase_deliveries.address));
    UPDATE deliveries d SET address = pseudonym, content = '{}',
        status = CASE d.status WHEN 'waiting' THEN 'failed' ELSE d.status END
    WHERE lower(d.address) = lower(erase_deliveries.address);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;

-- Erases the keys and references that an account's owner has chosen, where the ledger needs the row itself. An order's
-- client_order_id is part of its terms, which are hashed: it stays.
CREATE FUNCTION erase_references(account uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM order_idempotency_keys WHERE user_id = account;
    UPDATE orders SET idempotency_key = NULL WHERE user_id = account AND idempotency_key IS NOT NULL;
    UPDATE deposits SET reference = NULL WHERE user_id = account AND reference IS NOT NULL;
END $$;

-- Everybody may execute a new function until that is revoked.
REVOKE ALL ON FUNCTION create_ticks_partition(date), drop_ticks_partition(date), export_user_data(text),
    erase_deliveries(text, text), lock_account(uuid), erase_references(uuid) FROM PUBLIC;
