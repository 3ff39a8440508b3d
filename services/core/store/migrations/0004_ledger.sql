-- Money: a ledger in double entry, and the orders and trades that move it.
--
-- What must never happen is refused here, whoever asks:
--   * a transfer takes from one account what it gives to another, so that the sum over all accounts of an asset is zero;
--   * a balance changes by a transfer and in no other way: a trigger moves it, and no service's role may;
--   * what is available and what is held is never negative, nor are fees;
--   * a posting sums to zero for each asset, its number follows the one before it, and it carries that one's hash;
--   * what is written in postings, transfers and trades stays as it is, also for the owner of the tables.

-- What accounts may hold, and how many decimal places an amount of it has.
CREATE TABLE assets (
    code  text     PRIMARY KEY COLLATE "C" CHECK (code ~ '^[A-Z0-9]{1,20}$'),
    scale smallint NOT NULL CHECK (scale BETWEEN 0 AND 12)
);
INSERT INTO assets (code, scale) VALUES
    ('USD', 2), ('EUR', 2), ('GBP', 2), ('CHF', 2), ('JPY', 0), ('USDT', 6), ('USDC', 6),
    ('BTC', 8), ('ETH', 8), ('XRP', 6), ('LTC', 8), ('BCH', 8), ('SOL', 9), ('ADA', 6), ('DOGE', 8), ('DOT', 10),
    ('SPY', 6), ('QQQ', 6), ('AAPL', 6), ('MSFT', 6), ('GOOG', 6), ('AMZN', 6), ('TSLA', 6), ('NVDA', 6);

-- 'available' and 'held' are a user's; 'issued' is where deposits come from; 'house' is the other side of every trade.
CREATE TABLE accounts (
    id      bigint  PRIMARY KEY,
    kind    text    NOT NULL COLLATE "C" CHECK (kind IN ('available', 'held', 'house', 'fees', 'issued')),
    user_id uuid,
    asset   text    NOT NULL COLLATE "C" REFERENCES assets,
    balance numeric NOT NULL DEFAULT 0,
    -- SHA-256 of what the account is, so that a row that is changed is found.
    hash    bytea   NOT NULL,
    UNIQUE NULLS NOT DISTINCT (user_id, asset, kind),
    CHECK ((user_id IS NOT NULL) = (kind IN ('available', 'held'))),
    CONSTRAINT never_negative CHECK (balance >= 0 OR kind IN ('house', 'issued'))
) WITH (fillfactor = 80);

-- Transfers that happen together. 'cause' is the order or the deposit.
CREATE TABLE postings (
    id            bigint      PRIMARY KEY CHECK (id > 0),
    kind          text        NOT NULL COLLATE "C" CHECK (kind IN ('deposit', 'hold', 'release', 'fill')),
    user_id       uuid        NOT NULL,
    cause         uuid        NOT NULL,
    at            timestamptz NOT NULL,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL
);
CREATE INDEX postings_user ON postings (user_id, id);
-- A deposit that is asked for twice is posted once.
CREATE UNIQUE INDEX postings_deposit ON postings (cause) WHERE kind = 'deposit';

CREATE TABLE transfers (
    posting_id   bigint   NOT NULL,
    number       smallint NOT NULL CHECK (number > 0),
    asset        text     NOT NULL COLLATE "C",
    from_account bigint   NOT NULL,
    to_account   bigint   NOT NULL CHECK (to_account <> from_account),
    amount       numeric  NOT NULL CHECK (amount > 0),
    hash         bytea    NOT NULL,
    PRIMARY KEY (posting_id, number)
);

-- Orders as they were placed. 'fingerprint' is the SHA-256 of the terms: the same name with other terms is a mistake.
CREATE TABLE orders (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    terms           jsonb       NOT NULL,
    -- The rule whose first firing places it.
    rule_id         uuid        UNIQUE,
    client_order_id text        COLLATE "C",
    idempotency_key text        COLLATE "C",
    fingerprint     bytea       NOT NULL,
    placed_at       timestamptz NOT NULL
);
CREATE INDEX orders_user ON orders (user_id, id);
CREATE UNIQUE INDEX orders_client_order_id ON orders (user_id, client_order_id) WHERE client_order_id IS NOT NULL;
CREATE UNIQUE INDEX orders_idempotency_key ON orders (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What the settler has made of them. An order without a row here is 'received'.
CREATE TABLE order_states (
    order_id      uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    revision      integer     NOT NULL CHECK (revision > 0),
    status        text        NOT NULL COLLATE "C"
                  CHECK (status IN ('open', 'filled', 'cancelled', 'expired', 'rejected')),
    reason        text        COLLATE "C",
    -- Its place among the orders that wait: they are served in this order at one price.
    place         bigint      NOT NULL,
    -- What it holds while it is open.
    held_asset    text        COLLATE "C",
    held          numeric     NOT NULL DEFAULT 0 CHECK (held >= 0),
    -- The rule whose firing it still waits for, and when that rule's time is over.
    parked_rule   uuid,
    parked_until  timestamptz,
    -- The last tick that was applied before this was decided.
    tick_sequence bigint      NOT NULL,
    updated_at    timestamptz NOT NULL,
    CHECK ((held > 0) = (status = 'open'))
);
CREATE INDEX order_states_open ON order_states (order_id) WHERE status = 'open';

-- An order trades once, as a whole.
CREATE TABLE trades (
    order_id      uuid        PRIMARY KEY,
    posting_id    bigint      NOT NULL,
    user_id       uuid        NOT NULL,
    symbol        text        NOT NULL COLLATE "C",
    side          text        NOT NULL COLLATE "C" CHECK (side IN ('buy', 'sell')),
    size          numeric     NOT NULL CHECK (size > 0),
    price         numeric     NOT NULL CHECK (price > 0),
    quote_amount  numeric     NOT NULL CHECK (quote_amount > 0),
    fee           numeric     NOT NULL CHECK (fee >= 0),
    tick_sequence bigint      NOT NULL,
    tick_price    numeric     NOT NULL CHECK (tick_price > 0),
    at            timestamptz NOT NULL,
    -- SHA-256 of all this.
    hash          bytea       NOT NULL
);
CREATE INDEX trades_user ON trades (user_id, posting_id);

-- Deposits that were asked for; one is done when there is a posting of it. The same reference is the same deposit.
CREATE TABLE deposits (
    id           uuid        PRIMARY KEY,
    user_id      uuid        NOT NULL,
    asset        text        NOT NULL COLLATE "C" REFERENCES assets,
    amount       numeric     NOT NULL CHECK (amount > 0),
    reference    text        UNIQUE,
    requested_by text        NOT NULL,
    requested_at timestamptz NOT NULL
);

-- The settler's memory of prices: the newest tick of each symbol that was applied.
CREATE TABLE settlement_prices (
    symbol   text        PRIMARY KEY COLLATE "C",
    price    numeric     NOT NULL CHECK (price > 0),
    at       timestamptz NOT NULL,
    sequence bigint      NOT NULL
);

-- Which postings were added together: what is checked at the end of their transaction.
CREATE TABLE posting_batches (
    first_posting bigint      PRIMARY KEY,
    last_posting  bigint      NOT NULL CHECK (last_posting >= first_posting),
    posted_at     timestamptz NOT NULL DEFAULT now()
);

-- The settler adds thousands of facts at a time: a row of the outbox may hold many of them, in order.
ALTER TABLE outbox
    ALTER COLUMN subject DROP NOT NULL,
    ALTER COLUMN message_id DROP NOT NULL,
    ALTER COLUMN headers DROP NOT NULL,
    ALTER COLUMN body DROP NOT NULL,
    ADD COLUMN facts integer NOT NULL DEFAULT 1,
    ADD COLUMN subjects text[],
    ADD COLUMN message_ids text[],
    ADD COLUMN all_headers text[],
    ADD COLUMN bodies bytea[];
-- Rows live for milliseconds: compressing them would cost more than it saves.
ALTER TABLE outbox
    ALTER COLUMN subjects SET STORAGE EXTERNAL,
    ALTER COLUMN message_ids SET STORAGE EXTERNAL,
    ALTER COLUMN all_headers SET STORAGE EXTERNAL,
    ALTER COLUMN bodies SET STORAGE EXTERNAL;

-- The lines ------------------------------------------------------------------------------------------------------------

-- These functions look at what a statement has added, through indexes and whatever the planner believes about tables that
-- were empty a moment ago.

-- Moves balances by what a statement transfers. It runs with the rights of the tables' owner, so that nobody else needs
-- the right to change a balance.
CREATE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    expected bigint;
    moved bigint;
BEGIN
    IF EXISTS (SELECT FROM added LEFT JOIN assets ON assets.code = added.asset
               WHERE assets.scale IS NULL OR added.amount <> round(added.amount, assets.scale)) THEN
        RAISE EXCEPTION 'a transfer of an unknown asset, or with more places than its asset has'
            USING ERRCODE = 'check_violation';
    END IF;
    -- What is posted is closed with its transaction.
    IF EXISTS (SELECT FROM (SELECT DISTINCT posting_id FROM added) AS own LEFT JOIN postings ON postings.id = own.posting_id
               WHERE postings.xmin IS DISTINCT FROM pg_current_xact_id()::xid) THEN
        RAISE EXCEPTION 'a transfer of a posting that this transaction has not made'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    WITH sides AS (
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
    SELECT (SELECT count(*) FROM changes), (SELECT count(*) FROM done) INTO expected, moved;
    IF expected <> moved THEN
        RAISE EXCEPTION 'a transfer between accounts that are not there or not of its asset'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER move_balances AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION move_balances();

-- Every posting of a statement follows the one before it by number and by hash.
CREATE FUNCTION chain_postings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT id, previous_hash, lag(id) OVER up AS previous_id, lag(hash) OVER up AS expected
                     FROM added WINDOW up AS (ORDER BY id)) AS link
        WHERE CASE
            WHEN link.previous_id IS NOT NULL THEN link.previous_id <> link.id - 1 OR link.previous_hash <> link.expected
            WHEN link.id = 1 THEN link.previous_hash <> ''
            ELSE NOT EXISTS (SELECT FROM postings WHERE id = link.id - 1 AND hash = link.previous_hash)
        END
    ) THEN
        RAISE EXCEPTION 'a posting that does not follow the one before it' USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO posting_batches (first_posting, last_posting) SELECT min(id), max(id) FROM added HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER chain_postings AFTER INSERT ON postings
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION chain_postings();

-- At the end of its transaction every posting moves something, and for each asset its sum is zero: by the assets of the
-- accounts themselves, not by what the transfers say.
CREATE FUNCTION balance_postings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    wrong bigint;
BEGIN
    WITH own AS MATERIALIZED (
        SELECT posting_id, from_account, to_account, amount FROM transfers
        WHERE posting_id BETWEEN NEW.first_posting AND NEW.last_posting
    ), sides AS (
        SELECT posting_id, from_account AS account, -amount AS amount FROM own
        UNION ALL
        SELECT posting_id, to_account, amount FROM own
    )
    SELECT min(posting_id) INTO wrong FROM (
        SELECT sides.posting_id FROM sides JOIN accounts ON accounts.id = sides.account
        GROUP BY sides.posting_id, accounts.asset HAVING sum(sides.amount) <> 0
    ) AS unbalanced;
    IF wrong IS NULL AND (SELECT count(DISTINCT posting_id) FROM transfers
                          WHERE posting_id BETWEEN NEW.first_posting AND NEW.last_posting)
                         <> NEW.last_posting - NEW.first_posting + 1 THEN
        RAISE EXCEPTION 'one of the postings % to % moves nothing', NEW.first_posting, NEW.last_posting
            USING ERRCODE = 'check_violation';
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'posting % does not sum to zero for each asset', wrong USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER balance_postings AFTER INSERT ON posting_batches
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balance_postings();

-- What is written stays.
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to: a mistake is reversed by a new posting', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON postings FOR EACH STATEMENT EXECUTE FUNCTION keep();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers FOR EACH STATEMENT EXECUTE FUNCTION keep();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON trades FOR EACH STATEMENT EXECUTE FUNCTION keep();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON posting_batches FOR EACH STATEMENT EXECUTE FUNCTION keep();
