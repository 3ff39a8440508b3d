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
