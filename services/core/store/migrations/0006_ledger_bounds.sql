-- Bounds on money. To PostgreSQL 'NaN' is above every number and so above zero: a lower bound alone lets it in, and a
-- balance that it has moved is 'NaN' for good. Below 10^16 whole units and with at most 12 places an amount has 28 digits,
-- which is what the services count with; more could be stored, and then be read by nobody.

ALTER TABLE accounts ADD CONSTRAINT countable CHECK (balance > -1e16 AND balance < 1e16);
ALTER TABLE transfers ADD CONSTRAINT countable CHECK (amount > 0 AND amount < 1e16);
ALTER TABLE deposits ADD CONSTRAINT countable CHECK (amount > 0 AND amount < 1e16 AND amount = round(amount, 12));
ALTER TABLE order_states ADD CONSTRAINT countable CHECK (held >= 0 AND held < 1e16 AND held = round(held, 12));
ALTER TABLE settlement_prices ADD CONSTRAINT countable CHECK (price > 0 AND price < 1e16 AND price = round(price, 12));
ALTER TABLE trades ADD CONSTRAINT countable CHECK (
    size > 0 AND size < 1e16 AND size = round(size, 12)
    AND price > 0 AND price < 1e16 AND price = round(price, 12)
    AND quote_amount > 0 AND quote_amount < 1e16 AND quote_amount = round(quote_amount, 12)
    AND fee >= 0 AND fee < 1e16 AND fee = round(fee, 12)
    AND tick_price > 0 AND tick_price < 1e16 AND tick_price = round(tick_price, 12));

-- A time that is 'infinity' is no time to whoever reads it.
ALTER TABLE postings ADD CONSTRAINT dated CHECK (isfinite(at));
ALTER TABLE trades ADD CONSTRAINT dated CHECK (isfinite(at));

-- What is written in postings, transfers, trades and assets stays as it is: the places of an asset say what its amounts
-- were checked by. New assets may be added.
CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is only ever added to', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'A mistake in the ledger is reversed by a new posting.';
END $$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON assets FOR EACH STATEMENT EXECUTE FUNCTION keep();

-- Why an order is rejected is one of a few words.
ALTER TABLE order_states ADD CONSTRAINT reasoned CHECK (
    (reason IS NOT NULL) = (status = 'rejected')
    AND (reason IS NULL OR reason IN ('insufficient_funds', 'no_price', 'stale_price', 'unknown_symbol', 'too_precise',
                                      'too_small', 'too_large', 'too_many_open_orders')));

-- As before, and all transfers of a posting are added by one statement. The check at the end of a transaction can be called
-- before its end (SET CONSTRAINTS ALL IMMEDIATE); a posting that has passed it must not become longer.
CREATE OR REPLACE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
    IF (SELECT count(*) FROM added)
       <> (SELECT count(*) FROM transfers WHERE posting_id BETWEEN (SELECT min(posting_id) FROM added)
                                                               AND (SELECT max(posting_id) FROM added)) THEN
        RAISE EXCEPTION 'a transfer of a posting that has others already' USING ERRCODE = 'check_violation';
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
