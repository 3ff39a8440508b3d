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
