-- People who sign in. Secrets are kept as hashes: passwords by Argon2id, tokens (which are random) by SHA-256.

-- Whoever asked for an account, until the link in the mail is followed. Several may ask with one address: the password is
-- that of the sign-up whose link is followed. A row is made also for the address of an account, where no link leads to it:
-- both must take the same time.
CREATE TABLE sign_ups (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz
);
CREATE INDEX sign_ups_expired ON sign_ups (expires_at);
CREATE INDEX sign_ups_email ON sign_ups (lower(email), created_at);

-- An account whose address has said yes. Erasing a person deletes the row; the id stays in the ledger as a pseudonym.
CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    role          text        NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'operator')),
    created_at    timestamptz NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (lower(email));

CREATE TABLE sessions (
    token_hash bytea       PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expired ON sessions (expires_at);

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

-- Who asked for a new password. For an address without an account there is a row that is about nobody: both must take the
-- same time.
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
CREATE INDEX password_resets_expired ON password_resets (expires_at);

-- Failed sign-ins in a row, by the hash of the address, whether there is such an account or not.
CREATE TABLE sign_in_failures (
    address_hash bytea       PRIMARY KEY,
    failures     integer     NOT NULL,
    last_at      timestamptz NOT NULL
);
CREATE INDEX sign_in_failures_last ON sign_in_failures (last_at);

-- A rule that belongs to an account.
ALTER TABLE rules ADD COLUMN user_id uuid;
CREATE INDEX rules_user ON rules (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX rules_address ON rules (lower(rule #>> '{notify,email}'));

-- Mails that are about no rule: about an account, about a trade.
ALTER TABLE deliveries ALTER COLUMN rule_id DROP NOT NULL;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_kind_check;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_kind_check
    CHECK (kind IN ('alert', 'confirmation', 'account', 'trade'));
CREATE INDEX deliveries_address ON deliveries (lower(address));

-- What the law gives a person. The gateway answers for everything, and may not read or change messages and money: these run
-- with the rights of the tables' owner, for whoever may execute them.

-- All that is kept about whoever reads mail at an address, and about their account. Decimals are text, as everywhere.
CREATE FUNCTION export_person(address text) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    -- Null where there is no account: nothing below is then found by it.
    person uuid := (SELECT id FROM users WHERE lower(email) = lower(address));
    document jsonb;
BEGIN
    document := jsonb_build_object(
        'address', address,
        'account', (SELECT to_jsonb(u) - 'password_hash' FROM users u WHERE u.id = person),
        'sign_ups', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'password_hash' ORDER BY s.created_at), '[]')
                     FROM sign_ups s WHERE lower(s.email) = lower(address)),
        'sessions', (SELECT coalesce(jsonb_agg(to_jsonb(s) - 'token_hash' - 'user_id' ORDER BY s.created_at), '[]')
                     FROM sessions s WHERE s.user_id = person),
        'api_keys', (SELECT coalesce(jsonb_agg(to_jsonb(k) - 'token_hash' - 'user_id' ORDER BY k.created_at), '[]')
                     FROM api_keys k WHERE k.user_id = person),
        -- Not their ids: these are what the links in mails are made of.
        'password_resets', (SELECT coalesce(jsonb_agg(to_jsonb(r) - 'id' - 'user_id' - 'address_hash'
                                                      ORDER BY r.created_at), '[]')
                            FROM password_resets r WHERE r.user_id = person),
        'rules', (SELECT coalesce(jsonb_agg(r.rule || jsonb_build_object(
                      'status', r.status, 'created_at', r.created_at, 'updated_at', r.updated_at,
                      'firings', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'rule_id' || jsonb_build_object(
                                      'price', f.price::text, 'reference_price', f.reference_price::text,
                                      'change_percent', f.change_percent::text) ORDER BY f.number), '[]')
                                  FROM firings f WHERE f.rule_id = r.id)) ORDER BY r.created_at), '[]')
                  FROM rules r WHERE lower(r.rule #>> '{notify,email}') = lower(address) OR r.user_id = person),
        'messages', (SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object(
                         'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
                                      FROM delivery_attempts a WHERE a.delivery_id = d.id)) ORDER BY d.created_at), '[]')
                     FROM deliveries d WHERE lower(d.address) = lower(export_person.address)));
    RETURN document || jsonb_build_object(
        'orders', (SELECT coalesce(jsonb_agg(to_jsonb(o) - 'fingerprint' || jsonb_build_object(
                       'state', (SELECT to_jsonb(s) || jsonb_build_object('held', s.held::text) FROM order_states s WHERE s.order_id = o.id)) ORDER BY o.id), '[]')
                   FROM orders o WHERE o.user_id = person),
        'trades', (SELECT coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object(
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

-- Takes an address out of the messages to it; says how many there were.
CREATE FUNCTION erase_messages(address text, pseudonym text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    erased bigint;
BEGIN
    UPDATE delivery_attempts SET detail = ''
    WHERE delivery_id IN (SELECT id FROM deliveries d WHERE lower(d.address) = lower(erase_messages.address));
    UPDATE deliveries d SET address = pseudonym, content = '{}',
        status = CASE d.status WHEN 'waiting' THEN 'failed' ELSE d.status END
    WHERE lower(d.address) = lower(erase_messages.address);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END $$;

-- Everybody may execute a new function until it is said otherwise.
REVOKE ALL ON FUNCTION export_person(text), erase_messages(text, text) FROM PUBLIC;
