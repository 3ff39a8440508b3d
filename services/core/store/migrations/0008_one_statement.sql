-- Refuses a batch of which another instance has moved a consumer or decided an order, in the statement that writes all of
-- it: the batch is read and decided anew.
CREATE FUNCTION fence(holds boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'a consumer was moved, or an order decided, by another instance' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

-- The settler waits for these with every batch: each asks once what it asked by several statements, and refuses the same.

-- Moves balances by what a statement transfers. All transfers of a posting are added by one statement of the transaction
-- that makes the posting. The check at the end of a transaction can be called before its end (SET CONSTRAINTS ALL IMMEDIATE);
-- a posting that has passed it must not become longer.
CREATE OR REPLACE FUNCTION move_balances() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
        RAISE EXCEPTION 'a transfer of an unknown asset, or with more places than its asset has'
            USING ERRCODE = 'check_violation';
    END IF;
    IF NOT own THEN
        RAISE EXCEPTION 'a transfer of a posting that this transaction has not made'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF NOT whole THEN
        RAISE EXCEPTION 'a transfer of a posting that has others already' USING ERRCODE = 'check_violation';
    END IF;
    IF NOT moved THEN
        RAISE EXCEPTION 'a transfer between accounts that are not there or not of its asset'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;

-- Every posting of a statement follows the one before it by number and by hash.
CREATE OR REPLACE FUNCTION chain_postings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
        RAISE EXCEPTION 'a posting that does not follow the one before it' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- At the end of its transaction every posting moves something, and for each asset its sum is zero: by the assets of the
-- accounts themselves, not by what the transfers say.
CREATE OR REPLACE FUNCTION balance_postings() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
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
