-- What people's accounts need besides.

-- Attempts that have failed in a row, by what was tried and, for some, from which network: guesses from elsewhere must
-- not keep the owner out. 'subject' is a SHA-256 hash of an address, an id or a network. It takes the place of
-- sign_in_failures, which the release before still counts in.
CREATE TABLE attempts (
    kind     text        NOT NULL COLLATE "C"
             CHECK (kind IN ('sign_in', 'sign_in_anywhere', 'password', 'join', 'reset')),
    subject  bytea       NOT NULL,
    network  text        NOT NULL COLLATE "C",
    failures integer     NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (subject, kind, network)
);
CREATE INDEX attempts_last ON attempts (last_at);

-- Whether several sign-ups with one address wait, or have waited, at a time. Each has its own password, and only one of
-- them is the owner's: then the link alone does not do.
ALTER TABLE sign_ups ADD COLUMN contested boolean NOT NULL DEFAULT false;
UPDATE sign_ups s SET contested = true
WHERE EXISTS (SELECT FROM sign_ups other WHERE lower(other.email) = lower(s.email) AND other.id <> s.id);

-- Further names of requests for one order: a request that was known by its client_order_id may have a key of its own, which
-- then names that order and no other.
CREATE TABLE order_keys (
    user_id         uuid NOT NULL,
    idempotency_key text NOT NULL COLLATE "C",
    order_id        uuid NOT NULL REFERENCES orders,
    PRIMARY KEY (user_id, idempotency_key)
);
CREATE INDEX order_keys_order ON order_keys (order_id);

-- How many ask for a new password, whoever they are.
CREATE INDEX password_resets_created ON password_resets (created_at);

-- Holds an account until the transaction ends, so that it is not erased while it gets something new; false where there is
-- none. For whoever may not lock a row of users.
CREATE FUNCTION hold_account(account uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM users WHERE id = account FOR KEY SHARE;
    RETURN FOUND;
END $$;

-- Takes what an account's people have named away from where the ledger needs the row itself. An order's client_order_id
-- is part of its terms, which are hashed: it stays.
CREATE FUNCTION erase_names(account uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM order_keys WHERE user_id = account;
    UPDATE orders SET idempotency_key = NULL WHERE user_id = account AND idempotency_key IS NOT NULL;
    UPDATE deposits SET reference = NULL WHERE user_id = account AND reference IS NOT NULL;
END $$;

-- All that is kept about whoever reads mail at an address, and about their account. Decimals are text, as everywhere.
CREATE OR REPLACE FUNCTION export_person(address text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- Null where there is no account: nothing below is then found by it.
    person uuid := (SELECT id FROM users WHERE lower(email) = lower(address));
    document jsonb;
BEGIN
    document := jsonb_build_object(
        'address', address,
        'account', (SELECT to_jsonb(u) - 'password_hash' FROM users u WHERE u.id = person),
        -- Neither the ids of these nor of resets: links in mails are made of them.
        'sign_ups', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'id' - 'password_hash' ORDER BY s.created_at), '[]')
                     FROM sign_ups s WHERE lower(s.email) = lower(address)),
        'sessions', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'token_hash' - 'user_id' ORDER BY s.created_at), '[]')
                     FROM sessions s WHERE s.user_id = person),
        'api_keys', (SELECT coalesce(jsonb_agg(to_jsonb(k) - 'token_hash' - 'user_id' ORDER BY k.created_at), '[]')
                     FROM api_keys k WHERE k.user_id = person),
        'password_resets', (SELECT coalesce(jsonb_agg(to_jsonb(r) - 'id' - 'user_id' - 'address_hash'
                                                      ORDER BY r.created_at), '[]')
                            FROM password_resets r WHERE r.user_id = person),
        -- Somebody else's rule may write to this address; the order that it places is theirs.
        'rules', (SELECT coalesce(jsonb_agg(CASE WHEN r.user_id = person THEN r.rule ELSE r.rule - 'then' END
                                            || jsonb_build_object(
                      'status', r.status, 'created_at', r.created_at, 'updated_at', r.updated_at,
                      'firings', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'rule_id' || jsonb_build_object(
                                      'price', f.price::text, 'reference_price', f.reference_price::text,
                                      'change_percent', f.change_percent::text) ORDER BY f.number), '[]')
                                  FROM firings f WHERE f.rule_id = r.id)) ORDER BY r.created_at), '[]')
                  FROM rules r WHERE lower(r.rule #>> '{notify,email}') = lower(address) OR r.user_id = person),
        'messages', (SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object(
                         'content', d.content - 'then' - CASE d.kind WHEN 'account' THEN 'subject_id' ELSE '' END,
                         'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
                                      FROM delivery_attempts a WHERE a.delivery_id = d.id)) ORDER BY d.created_at), '[]')
                     FROM deliveries d WHERE lower(d.address) = lower(export_person.address)));
    RETURN document || jsonb_build_object(
        'orders', (SELECT coalesce(jsonb_agg(to_jsonb(o) - 'fingerprint' || jsonb_build_object(
                       'other_keys', (SELECT coalesce(jsonb_agg(k.idempotency_key ORDER BY k.idempotency_key), '[]')
                                      FROM order_keys k WHERE k.order_id = o.id),
                       'state', (SELECT to_jsonb(s) || jsonb_build_object('held', s.held::text)
                                 FROM order_states s WHERE s.order_id = o.id)) ORDER BY o.id), '[]')
                   FROM orders o WHERE o.user_id = person),
        'trades', (SELECT coalesce(jsonb_agg(to_jsonb(t) - 'hash' || jsonb_build_object(
                       'size', t.size::text, 'price', t.price::text, 'quote_amount', t.quote_amount::text,
                       'fee', t.fee::text, 'tick_price', t.tick_price::text) ORDER BY t.posting_id), '[]')
                   FROM trades t WHERE t.user_id = person),
        'accounts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'hash' || jsonb_build_object('balance', a.balance::text)
                                                 ORDER BY a.asset, a.kind), '[]')
                     FROM accounts a WHERE a.user_id = person),
        'postings', (SELECT coalesce(jsonb_agg(to_jsonb(p) - 'hash' - 'previous_hash' || jsonb_build_object(
                         'transfers', (SELECT coalesce(jsonb_agg(to_jsonb(t) - 'posting_id' - 'hash'
                                                                 || jsonb_build_object('amount', t.amount::text)
                                                                 ORDER BY t.number), '[]')
                                       FROM transfers t WHERE t.posting_id = p.id)) ORDER BY p.id), '[]')
                     FROM postings p WHERE p.user_id = person),
        'deposits', (SELECT coalesce(jsonb_agg(to_jsonb(d) - 'requested_by' || jsonb_build_object('amount', d.amount::text)
                                                 ORDER BY d.requested_at), '[]')
                     FROM deposits d WHERE d.user_id = person));
END $$;

-- Everybody may execute a new function until it is said otherwise.
REVOKE ALL ON FUNCTION hold_account(uuid), erase_names(uuid) FROM PUBLIC;
