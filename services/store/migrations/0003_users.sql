-- People who sign in. Secrets are kept as hashes: passwords by Argon2id, tokens (which are random) by SHA-256.

-- Whoever asked for an account, until the link in the mail is followed. Several may ask with one address: the password is
-- that of the sign-up whose link is followed.
CREATE TABLE sign_ups (
    id            uuid        PRIMARY KEY,
    email         text        NOT NULL,
    password_hash text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL
);
CREATE INDEX sign_ups_expired ON sign_ups (expires_at);

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

CREATE TABLE password_resets (
    id         uuid        PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
CREATE INDEX password_resets_user ON password_resets (user_id);

-- Failed sign-ins in a row, by the hash of the address, whether there is such an account or not.
CREATE TABLE sign_in_failures (
    address_hash bytea       PRIMARY KEY,
    failures     integer     NOT NULL,
    last_at      timestamptz NOT NULL
);

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
