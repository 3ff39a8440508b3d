-- The book of record for rules, firings and deliveries, and the store of price history.
-- Times are UTC. A sequence is a message's place in its JetStream stream.

-- How far a consumer has applied its stream; updated in the transaction of the effect, on condition of the value that
-- was read, so that a second, stale instance cannot commit.
CREATE TABLE positions (
    consumer        text        PRIMARY KEY,
    stream_position bigint      NOT NULL DEFAULT 0 CHECK (stream_position >= 0),
    last_event_at   timestamptz,
    -- When the stream was made: a position in another stream of the same name means nothing.
    stream_created  timestamptz NOT NULL
);

-- Facts that are committed and not yet published. A row goes when the broker has acknowledged it.
CREATE TABLE outbox (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service    text        NOT NULL,
    subject    text        NOT NULL,
    message_id text        NOT NULL,
    headers    jsonb       NOT NULL,
    body       bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX outbox_service ON outbox (service, id);

-- Messages given up, so that two services that give up the same one make one dead letter.
CREATE TABLE dead_letters (
    stream     text        NOT NULL,
    sequence   bigint      NOT NULL,
    service    text        NOT NULL,
    reason     text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, sequence)
);

-- Price history ------------------------------------------------------------------------------------------------------

-- One symbol at one venue. The primary venue of a symbol is the one with the smallest first_sequence.
CREATE TABLE instruments (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    symbol         text    NOT NULL COLLATE "C",
    venue          text    NOT NULL COLLATE "C",
    first_sequence bigint  NOT NULL,
    UNIQUE (symbol, venue)
);

-- Every tick once: a repeat has the same instrument, time and trade id. Partitioned by month; the history-writer makes
-- partitions ahead. 'kind' and 'source' are those of tick.v1.
CREATE TABLE ticks (
    instrument_id integer     NOT NULL,
    at            timestamptz NOT NULL,
    trade_id      text        NOT NULL COLLATE "C",
    sequence      bigint      NOT NULL,
    price         numeric     NOT NULL CHECK (price > 0),
    size          numeric     CHECK (size >= 0),
    kind          text        NOT NULL COLLATE "C",
    source        text        NOT NULL COLLATE "C",
    received_at   timestamptz NOT NULL,
    PRIMARY KEY (instrument_id, at, trade_id)
) PARTITION BY RANGE (at);

-- The newest tick of each instrument by (time, sequence).
CREATE TABLE latest_prices (
    instrument_id integer     PRIMARY KEY REFERENCES instruments,
    price         numeric     NOT NULL,
    size          numeric,
    at            timestamptz NOT NULL,
    sequence      bigint      NOT NULL
);

-- Open and close are the first and last tick by (time, sequence), so that late ticks correct a candle in any order.
CREATE TABLE candles (
    instrument_id    integer     NOT NULL REFERENCES instruments,
    interval_seconds integer     NOT NULL,
    start            timestamptz NOT NULL,
    open             numeric     NOT NULL,
    open_at          timestamptz NOT NULL,
    open_sequence    bigint      NOT NULL,
    high             numeric     NOT NULL,
    low              numeric     NOT NULL,
    close            numeric     NOT NULL,
    close_at         timestamptz NOT NULL,
    close_sequence   bigint      NOT NULL,
    volume           numeric     NOT NULL,
    trades           bigint      NOT NULL,
    PRIMARY KEY (instrument_id, interval_seconds, start)
);

-- Rules and firings --------------------------------------------------------------------------------------------------

-- What the gateway knows: the rule as it was made, and its status as its owner wants it. Tokens are SHA-256 hashes.
CREATE TABLE rules (
    id                uuid        PRIMARY KEY,
    revision          bigint      NOT NULL DEFAULT 1,
    status            text        NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'deleted')),
    rule              jsonb       NOT NULL,
    manage_token_hash bytea       NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);

-- What the alert-engine knows: how far it has followed the rule, and the rule's memory.
CREATE TABLE rule_states (
    rule_id         uuid        PRIMARY KEY REFERENCES rules,
    revision        bigint      NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'active', 'paused', 'done', 'expired', 'deleted')),
    active_after    bigint      NOT NULL,
    reference_price numeric,
    reference_at    timestamptz,
    firings         bigint      NOT NULL DEFAULT 0,
    last_fired_at   timestamptz
);
CREATE INDEX rule_states_live ON rule_states (rule_id) WHERE status = 'active';

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
    sequence        bigint      NOT NULL,
    suppressed      text,
    PRIMARY KEY (rule_id, number)
);

-- The alert-engine's memory of each market: the last judged tick, and the prices that windows look back to.
CREATE TABLE markets (
    symbol         text        NOT NULL COLLATE "C",
    venue          text        NOT NULL COLLATE "C",
    first_sequence bigint      NOT NULL,
    last_sequence  bigint      NOT NULL,
    last_at        timestamptz NOT NULL,
    last_price     numeric     NOT NULL,
    PRIMARY KEY (symbol, venue)
);

-- The last judged price at or before each whole slot of grain_seconds (slot * grain_seconds is Unix time).
CREATE TABLE market_samples (
    symbol        text        NOT NULL COLLATE "C",
    venue         text        NOT NULL COLLATE "C",
    grain_seconds integer     NOT NULL,
    slot          bigint      NOT NULL,
    at            timestamptz NOT NULL,
    price         numeric     NOT NULL,
    PRIMARY KEY (symbol, venue, grain_seconds, slot)
);

-- Deliveries ---------------------------------------------------------------------------------------------------------

-- One message to one person. 'about' is what it tells: an alert's id, or the rule whose confirmation it asks for.
CREATE TABLE deliveries (
    id              uuid        PRIMARY KEY,
    kind            text        NOT NULL CHECK (kind IN ('alert', 'confirmation')),
    about           text        NOT NULL,
    rule_id         uuid        NOT NULL,
    channel         text        NOT NULL CHECK (channel IN ('email')),
    address         text        NOT NULL,
    content         jsonb       NOT NULL,
    traceparent     text,
    status          text        NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'sent', 'failed')),
    attempts        integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (about, channel, address)
);
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE status = 'waiting';
CREATE INDEX deliveries_unsent ON deliveries (status) WHERE status <> 'sent';

CREATE TABLE delivery_attempts (
    delivery_id uuid        NOT NULL REFERENCES deliveries,
    attempt     integer     NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('sent', 'retrying', 'unknown', 'failed')),
    detail      text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);
