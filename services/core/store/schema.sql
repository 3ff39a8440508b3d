-- Generated from migrations/ by `UPDATE=1 cargo test -p store schema`.

CREATE FUNCTION public.check_hash_chain() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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

CREATE FUNCTION public.check_postings_balance() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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

CREATE FUNCTION public.create_ticks_partition(first_day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    AS $$
BEGIN
    IF extract(day FROM first_day) <> 1 THEN
        RAISE EXCEPTION '% is not the first day of a month', first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.%I PARTITION OF public.ticks FOR VALUES FROM (%L) TO (%L)',
                   to_char(first_day, '"ticks_"YYYY_MM'), first_day::timestamptz,
                   (first_day + interval '1 month')::timestamptz);
END $$;

CREATE FUNCTION public.dead_letter_publisher(rejected_stream text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT CASE rejected_stream
        WHEN 'TICKS' THEN 'history-writer' WHEN 'CANDLES' THEN 'history-writer' WHEN 'FEEDS' THEN 'price-ingestor'
        WHEN 'RULES' THEN 'gateway' WHEN 'ORDERS' THEN 'gateway' WHEN 'USERS' THEN 'gateway'
        WHEN 'ALERTS' THEN 'alert-engine' WHEN 'TRADES' THEN 'trade-settler' WHEN 'DELIVERIES' THEN 'notifier' END
$$;

COMMENT ON FUNCTION public.dead_letter_publisher(rejected_stream text) IS 'Returns the service that publishes a message of a stream again; null where none does. History-writers, which always run, publish ticks: a price-ingestor may run without a database.';

CREATE FUNCTION public.drop_ticks_partition(first_day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    AS $$
BEGIN
    INSERT INTO public.dropped_tick_months VALUES (drop_ticks_partition.first_day) ON CONFLICT DO NOTHING;
    EXECUTE format('DROP TABLE public.%I', to_char(first_day, '"ticks_"YYYY_MM'));
END $$;

CREATE FUNCTION public.erase_deliveries(address text, pseudonym text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

CREATE FUNCTION public.erase_references(account uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    DELETE FROM order_idempotency_keys WHERE user_id = account;
    UPDATE orders SET idempotency_key = NULL WHERE user_id = account AND idempotency_key IS NOT NULL;
    UPDATE deposits SET reference = NULL WHERE user_id = account AND reference IS NOT NULL;
END $$;

CREATE FUNCTION public.export_user_data(address text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
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

CREATE FUNCTION public.fence(holds boolean) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT holds THEN
        RAISE EXCEPTION 'another instance has moved a consumer or decided an order' USING ERRCODE = 'serialization_failure';
    END IF;
END $$;

CREATE FUNCTION public.lock_account(account uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM users WHERE id = account FOR KEY SHARE;
    RETURN FOUND;
END $$;

CREATE FUNCTION public.move_balances() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    SET enable_seqscan TO 'off'
    SET enable_hashjoin TO 'off'
    SET enable_mergejoin TO 'off'
    SET plan_cache_mode TO 'force_generic_plan'
    AS $$
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

CREATE FUNCTION public.reject_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'A mistake in the ledger is reversed by a new posting.';
END $$;

CREATE FUNCTION public.replay_dead_letter(rejected_stream text, rejected_sequence bigint, rejected_index smallint, operator uuid, subject text, message_id text, headers text, body bytea) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'public', 'pg_temp'
    AS $$
DECLARE
    publisher CONSTANT text := public.dead_letter_publisher(rejected_stream);
BEGIN
    IF publisher IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE public.dead_letters SET replayed_at = now(), replayed_by = operator
    WHERE stream = rejected_stream AND sequence = rejected_sequence AND index IS NOT DISTINCT FROM rejected_index
      AND digest = sha256(convert_to(replay_dead_letter.subject || E'\n' || replay_dead_letter.headers || E'\n', 'UTF8')
                          || replay_dead_letter.body);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.outbox (service, subject, message_id, headers, body)
    VALUES (publisher, replay_dead_letter.subject, replay_dead_letter.message_id, replay_dead_letter.headers::jsonb,
            replay_dead_letter.body);
    PERFORM pg_notify('outbox/' || publisher, '');
    RETURN publisher;
END $$;

CREATE TABLE public.accounts (
    id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    user_id uuid,
    asset text NOT NULL COLLATE pg_catalog."C",
    balance numeric DEFAULT 0 NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT accounts_check CHECK (((user_id IS NOT NULL) = (kind = ANY (ARRAY['available'::text, 'held'::text])))),
    CONSTRAINT accounts_kind_check CHECK ((kind = ANY (ARRAY['available'::text, 'held'::text, 'house'::text, 'fees'::text, 'issued'::text]))),
    CONSTRAINT amounts_in_range CHECK (((balance > '-10000000000000000'::numeric) AND (balance < '10000000000000000'::numeric))),
    CONSTRAINT balance_not_negative CHECK (((balance >= (0)::numeric) OR (kind = ANY (ARRAY['house'::text, 'issued'::text]))))
)
WITH (fillfactor='80');

COMMENT ON TABLE public.accounts IS 'Accounts of the ledger. available and held belong to a user; issued is where deposits come from; house is the counterparty of every trade.';

COMMENT ON COLUMN public.accounts.hash IS 'The SHA-256 hash of what the account is, so that a changed row is found.';

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    token_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_scopes_check CHECK (((scopes <@ ARRAY['read'::text, 'trade'::text, 'alerts'::text]) AND (cardinality(scopes) > 0)))
);

COMMENT ON TABLE public.api_keys IS 'API keys by the SHA-256 hash of their token, with the scopes that they grant.';

CREATE TABLE public.archived_days (
    instrument_id integer NOT NULL,
    day date NOT NULL,
    ticks bigint NOT NULL,
    verified_at timestamp with time zone DEFAULT now() NOT NULL,
    archive text,
    CONSTRAINT archived_days_archive_check CHECK ((archive <> ''::text)),
    CONSTRAINT archived_days_ticks_check CHECK ((ticks > 0))
);

COMMENT ON TABLE public.archived_days IS 'The days whose ticks are in the archive, as the archiver has compared them last. Where the archive is required, a month is dropped only when the archive of the settings has as many ticks here of each of its days. A row goes when its day is found to differ.';

COMMENT ON COLUMN public.archived_days.archive IS 'The address of the archive, as archive.url and archive.endpoint name it. Null where an earlier version has compared the day, which then counts for no archive.';

CREATE TABLE public.assets (
    code text NOT NULL COLLATE pg_catalog."C",
    scale smallint NOT NULL,
    quote text COLLATE pg_catalog."C",
    CONSTRAINT assets_code_check CHECK ((code ~ '^[A-Z0-9]{1,20}(\.[A-Z0-9]{1,5})?$'::text)),
    CONSTRAINT assets_scale_check CHECK (((scale >= 0) AND (scale <= 12)))
);

COMMENT ON TABLE public.assets IS 'The assets that accounts may hold, and how many decimal places an amount of each has.';

COMMENT ON COLUMN public.assets.quote IS 'The currency in which a share is traded, where an order names none; null for a currency and a coin.';

CREATE TABLE public.batched_sources (
    source_id text NOT NULL COLLATE pg_catalog."C",
    delivery_id uuid NOT NULL
);

COMMENT ON TABLE public.batched_sources IS 'Order mails are batched per user: the events that a delivery covers besides the one that deliveries.source_id names. An event that is read again is not notified again.';

CREATE TABLE public.candles (
    instrument_id integer NOT NULL,
    interval_seconds integer NOT NULL,
    start timestamp with time zone NOT NULL,
    open numeric NOT NULL,
    open_at timestamp with time zone NOT NULL,
    open_sequence bigint NOT NULL,
    open_index smallint NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    close_at timestamp with time zone NOT NULL,
    close_sequence bigint NOT NULL,
    close_index smallint NOT NULL,
    volume numeric NOT NULL,
    trades bigint NOT NULL,
    revision bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE public.candles IS 'Candles by the time that their interval starts. Open and close are the first and last tick by (time, sequence, index), so that late ticks correct a candle in any order.';

COMMENT ON COLUMN public.candles.trades IS 'The number of ticks.';

COMMENT ON COLUMN public.candles.revision IS 'The number of ticks that have changed the candle after its close, 0 where none came late.';

CREATE TABLE public.channel_states (
    channel text NOT NULL,
    last_accepted_at timestamp with time zone,
    failing_since timestamp with time zone,
    is_server_away boolean DEFAULT false NOT NULL,
    refused_count integer DEFAULT 0 NOT NULL,
    last_error text DEFAULT ''::text NOT NULL,
    CONSTRAINT channel_states_channel_check CHECK ((channel = 'email'::text))
);

COMMENT ON TABLE public.channel_states IS 'Whether messages go out on each channel, as the notifiers see it.';

COMMENT ON COLUMN public.channel_states.last_accepted_at IS 'When a server has last accepted a message, to 10 seconds: a row that every attempt changed would make all of them wait for each other.';

COMMENT ON COLUMN public.channel_states.failing_since IS 'When the first attempt failed since the last message that was accepted; null while none has.';

COMMENT ON COLUMN public.channel_states.is_server_away IS 'Whether the server has not answered since, or has refused this client, which is no refusal of a message.';

COMMENT ON COLUMN public.channel_states.refused_count IS 'The number of new messages that failed since.';

CREATE TABLE public.consumer_positions (
    consumer text NOT NULL,
    stream_position bigint DEFAULT 0 NOT NULL,
    last_event_at timestamp with time zone,
    stream_created_at timestamp with time zone NOT NULL,
    stored_at timestamp with time zone,
    CONSTRAINT consumer_positions_stream_position_check CHECK ((stream_position >= 0))
);

COMMENT ON TABLE public.consumer_positions IS 'The last stream sequence that each consumer has applied. It is updated in the transaction of the effect, on condition of the value that was read, so that a second, stale instance cannot commit.';

COMMENT ON COLUMN public.consumer_positions.stream_created_at IS 'When the stream was created: a position in another stream of the same name means nothing.';

COMMENT ON COLUMN public.consumer_positions.stored_at IS 'When the broker stored the message at the position: where another time stands there, an older copy of the stream was put back.';

CREATE TABLE public.dead_letters (
    stream text NOT NULL,
    sequence bigint NOT NULL,
    index smallint,
    service text NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea,
    replayed_at timestamp with time zone,
    replayed_by uuid,
    CONSTRAINT dead_letters_digest_check CHECK ((length(digest) = 32))
);

COMMENT ON TABLE public.dead_letters IS 'Messages, and ticks of messages, that a service has given up. Two services that give up the same one make one dead letter.';

COMMENT ON COLUMN public.dead_letters.index IS 'The index of the tick in its page; null where the whole message was given up.';

COMMENT ON COLUMN public.dead_letters.digest IS 'The SHA-256 of what is published again: the subject, the headers as a JSON array of pairs, each with a line feed behind it, and the body. Null where an earlier version recorded the dead letter.';

COMMENT ON COLUMN public.dead_letters.replayed_at IS 'The time at which it was last published again by way of the API; null where it never was.';

COMMENT ON COLUMN public.dead_letters.replayed_by IS 'The operator who asked for that. It stays when the account is erased, and then names nobody.';

CREATE TABLE public.deliveries (
    id uuid NOT NULL,
    kind text NOT NULL,
    source_id text NOT NULL,
    rule_id uuid,
    channel text NOT NULL,
    address text NOT NULL,
    content jsonb NOT NULL,
    traceparent text,
    status text DEFAULT 'waiting'::text NOT NULL,
    attempt_count integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    next_attempt_at timestamp with time zone DEFAULT now() NOT NULL,
    waits_for_server text,
    CONSTRAINT deliveries_channel_check CHECK ((channel = 'email'::text)),
    CONSTRAINT deliveries_kind_check CHECK ((kind = ANY (ARRAY['alert'::text, 'late'::text, 'confirmation'::text, 'silence'::text, 'account'::text, 'trade'::text]))),
    CONSTRAINT deliveries_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'sent'::text, 'failed'::text])))
);

COMMENT ON TABLE public.deliveries IS 'One message to one recipient.';

COMMENT ON COLUMN public.deliveries.source_id IS 'The id of what the message is about: of an alert, a gap, a rule to confirm, the silence of a rule''s market, an account notice or an order event.';

COMMENT ON COLUMN public.deliveries.attempt_count IS 'The number of attempts that have begun. It is counted before the attempt: where it is above the number of rows in delivery_attempts, an attempt is running, or its process ended before the outcome was recorded.';

COMMENT ON COLUMN public.deliveries.waits_for_server IS 'The server that did not answer the last attempt or refused this client, which is no refusal of the message. The next message that this server takes makes the delivery due.';

CREATE TABLE public.delivery_attempts (
    delivery_id uuid NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    detail text NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT delivery_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['sent'::text, 'retrying'::text, 'unknown'::text, 'failed'::text])))
);

COMMENT ON TABLE public.delivery_attempts IS 'Each attempt at a delivery, numbered from 1, and its outcome.';

CREATE TABLE public.deposits (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    asset text NOT NULL COLLATE pg_catalog."C",
    amount numeric NOT NULL,
    reference text,
    requested_by text NOT NULL,
    requested_at timestamp with time zone NOT NULL,
    CONSTRAINT amounts_in_range CHECK (((amount > (0)::numeric) AND (amount < '10000000000000000'::numeric) AND (amount = round(amount, 12))))
);

COMMENT ON TABLE public.deposits IS 'Deposits that operators requested. A deposit is done when there is a posting of it. The same reference is the same deposit.';

CREATE TABLE public.dropped_tick_months (
    first_day date NOT NULL
);

COMMENT ON TABLE public.dropped_tick_months IS 'The months whose partition of ticks was dropped. Their ticks are in the candles, and a repeat of one could no longer be recognised: the history-writer takes none of such a month.';

CREATE TABLE public.feed_gap_changes (
    venue text NOT NULL COLLATE pg_catalog."C",
    symbol text NOT NULL COLLATE pg_catalog."C",
    changes bigint NOT NULL
);

COMMENT ON TABLE public.feed_gap_changes IS 'How often the gaps of each market have changed. While the number stays, so does what candles say about missing trades.';

CREATE TABLE public.feed_gaps (
    venue text NOT NULL COLLATE pg_catalog."C",
    symbol text NOT NULL COLLATE pg_catalog."C",
    lower_bound bigint NOT NULL,
    revision integer DEFAULT 1 NOT NULL,
    bounds text NOT NULL,
    gap_from timestamp with time zone NOT NULL,
    gap_to timestamp with time zone,
    first_missing_id bigint,
    last_missing_id bigint,
    reason text NOT NULL,
    state text NOT NULL,
    filled bigint DEFAULT 0 NOT NULL,
    document jsonb,
    CONSTRAINT feed_gaps_bounds_check CHECK ((bounds = ANY (ARRAY['ids'::text, 'times'::text]))),
    CONSTRAINT feed_gaps_reason_check CHECK ((reason = ANY (ARRAY['disconnected'::text, 'stale'::text, 'missed_ids'::text, 'down'::text]))),
    CONSTRAINT feed_gaps_state_check CHECK ((state = ANY (ARRAY['open'::text, 'filling'::text, 'filled'::text, 'unfillable'::text])))
);

COMMENT ON TABLE public.feed_gaps IS 'Trades that were missed, and what became of them.';

COMMENT ON COLUMN public.feed_gaps.lower_bound IS 'What the gap begins with: the first id that is missing or, where ids say nothing, a time in microseconds since 1970.';

COMMENT ON COLUMN public.feed_gaps.revision IS 'Counts the reports that were published about the gap.';

COMMENT ON COLUMN public.feed_gaps.document IS 'What the price-ingestor needs to go on with the gap after a restart; null once the gap is final.';

CREATE TABLE public.feed_states (
    venue text NOT NULL COLLATE pg_catalog."C",
    symbol text NOT NULL COLLATE pg_catalog."C",
    state text DEFAULT 'starting'::text NOT NULL,
    detail text,
    trades_per_minute bigint DEFAULT 0 NOT NULL,
    last_id bigint,
    last_at timestamp with time zone,
    CONSTRAINT feed_states_state_check CHECK ((state = ANY (ARRAY['starting'::text, 'live'::text, 'stale'::text, 'reconnecting'::text, 'refused'::text])))
);

COMMENT ON TABLE public.feed_states IS 'How each feed is, and how far it was published. It is written after the ticks are acknowledged, so that it lags and never leads: what is fetched again is a repeat.';

COMMENT ON COLUMN public.feed_states.detail IS 'Why the feed is not live, in the words of the exchange where it refuses the symbol.';

COMMENT ON COLUMN public.feed_states.last_id IS 'The last id that was published or is in a gap; null where the ids of the exchange say nothing about what was missed. last_at is the time of the last trade.';

CREATE TABLE public.feed_venues (
    venue text NOT NULL COLLATE pg_catalog."C",
    revision bigint DEFAULT 0 NOT NULL,
    symbols text[] DEFAULT '{}'::text[] NOT NULL COLLATE pg_catalog."C",
    reported_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.feed_venues IS 'The exchanges that price-ingestors follow. The settings name the symbols when the row is made; from then on table feeds says which are followed.';

COMMENT ON COLUMN public.feed_venues.revision IS 'Counts the changes of the feeds of the exchange.';

COMMENT ON COLUMN public.feed_venues.symbols IS 'What the exchange lists, in our spelling and sorted.';

COMMENT ON COLUMN public.feed_venues.reported_at IS 'When the price-ingestor that follows it has saved the state of its feeds.';

CREATE TABLE public.feeds (
    venue text NOT NULL COLLATE pg_catalog."C",
    symbol text NOT NULL COLLATE pg_catalog."C",
    is_paused boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE public.feeds IS 'The symbols that are followed at each exchange, as operators want it.';

CREATE TABLE public.firings (
    rule_id uuid NOT NULL,
    number bigint NOT NULL,
    symbol text NOT NULL,
    venue text NOT NULL,
    fired_at timestamp with time zone NOT NULL,
    price numeric NOT NULL,
    reference_price numeric,
    reference_at timestamp with time zone,
    change_percent numeric,
    trade_id text NOT NULL,
    sequence bigint NOT NULL,
    index smallint NOT NULL,
    suppressed text,
    incomplete_since timestamp with time zone,
    saved_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.firings IS 'Each time that a rule has fired, numbered from 1 for each rule.';

COMMENT ON COLUMN public.firings.trade_id IS 'The id of the tick that fired; it is at (sequence, index) of stream TICKS.';

COMMENT ON COLUMN public.firings.suppressed IS 'Why the firing sends no notification; null when it sends one.';

COMMENT ON COLUMN public.firings.incomplete_since IS 'The time since which ticks of the market were missing when the rule fired; null when none were.';

COMMENT ON COLUMN public.firings.saved_at IS 'When the firing was saved, by the clock of the database: fired_at is the time of the tick, which a recording has of long ago.';

CREATE TABLE public.instruments (
    id integer NOT NULL,
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    is_primary boolean NOT NULL
);

COMMENT ON TABLE public.instruments IS 'One symbol at one venue.';

COMMENT ON COLUMN public.instruments.is_primary IS 'The venue quoted the symbol first. It stays the primary one: sequences of the stream would begin anew with the stream.';

ALTER TABLE public.instruments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.instruments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.late_verdicts (
    rule_id uuid NOT NULL,
    gap_id text NOT NULL COLLATE pg_catalog."C",
    verdict jsonb NOT NULL,
    saved_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.late_verdicts IS 'What rules would have decided in gaps whose ticks were filled in afterwards: one row for each rule and gap in which it would have fired without a firing that has reported it.';

COMMENT ON COLUMN public.late_verdicts.verdict IS 'The event late-verdict.v1 without its targets.';

CREATE TABLE public.latest_prices (
    instrument_id integer NOT NULL,
    price numeric NOT NULL,
    size numeric,
    at timestamp with time zone NOT NULL,
    sequence bigint NOT NULL,
    index smallint NOT NULL,
    late_ticks bigint DEFAULT 0 NOT NULL
);

COMMENT ON TABLE public.latest_prices IS 'The newest tick of each instrument by (at, sequence, index).';

COMMENT ON COLUMN public.latest_prices.late_ticks IS 'The number of ticks that have changed a candle of the instrument after its close. While it stays, so do all candles that end by column at.';

CREATE TABLE public.leases (
    service text NOT NULL,
    holder uuid NOT NULL,
    program text NOT NULL,
    acquired_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE public.leases IS 'The leader of each service. A leader renews its lease every second; once a lease has expired, another instance takes it.';

COMMENT ON COLUMN public.leases.holder IS 'The id of the process that leads.';

COMMENT ON COLUMN public.leases.program IS 'The name of its connections to the database, like tickbell trade-settler.';

CREATE TABLE public.login_attempts (
    kind text NOT NULL COLLATE pg_catalog."C",
    subject_hash bytea NOT NULL,
    network text NOT NULL COLLATE pg_catalog."C",
    failure_count integer NOT NULL,
    last_failed_at timestamp with time zone NOT NULL,
    CONSTRAINT login_attempts_kind_check CHECK ((kind = ANY (ARRAY['login'::text, 'login_any_network'::text, 'password_change'::text, 'sign_up'::text, 'password_reset'::text])))
);

COMMENT ON TABLE public.login_attempts IS 'Attempts that have failed in a row, by what was attempted and, for some kinds, from which network: guesses from elsewhere must not lock the owner out.';

COMMENT ON COLUMN public.login_attempts.subject_hash IS 'The SHA-256 hash of an address, an id or a network.';

CREATE TABLE public.market_gaps (
    gap_id text NOT NULL COLLATE pg_catalog."C",
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    revision integer NOT NULL,
    gap_from timestamp with time zone NOT NULL,
    gap_to timestamp with time zone,
    stage text NOT NULL,
    known_until bigint DEFAULT 0 NOT NULL,
    is_complete boolean DEFAULT false NOT NULL,
    saved_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT market_gaps_stage_check CHECK ((stage = ANY (ARRAY['missing'::text, 'known'::text, 'judged'::text])))
);

COMMENT ON TABLE public.market_gaps IS 'The gaps in the ticks of markets, as the alert-engine has read about them, until what rules would have decided in them is judged. A judged one stays for as long as stream FEEDS may say it again.';

COMMENT ON COLUMN public.market_gaps.known_until IS 'A gap is judged when the history has stream TICKS up to this sequence, and so all of its ticks.';

COMMENT ON COLUMN public.market_gaps.is_complete IS 'Whether the venue has offered all trades of the gap.';

CREATE TABLE public.market_samples (
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    grain_seconds integer NOT NULL,
    slot bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    price numeric NOT NULL
);

COMMENT ON TABLE public.market_samples IS 'The prices that the alert-engine''s windows look back to: the last evaluated price at or before each slot.';

COMMENT ON COLUMN public.market_samples.slot IS 'slot * grain_seconds is Unix time.';

CREATE TABLE public.market_states (
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    is_primary boolean NOT NULL,
    last_sequence bigint NOT NULL,
    last_at timestamp with time zone NOT NULL,
    last_price numeric NOT NULL,
    newest_ids jsonb NOT NULL,
    evaluated_at timestamp with time zone DEFAULT now() NOT NULL
);

COMMENT ON TABLE public.market_states IS 'The last tick of each market that the alert-engine has evaluated.';

COMMENT ON COLUMN public.market_states.is_primary IS 'The venue quoted the symbol first: rules that name no venue watch it, from then on.';

COMMENT ON COLUMN public.market_states.newest_ids IS 'The ids of the evaluated ticks that have the time last_at. A tick of this time with one of these ids is a repeat.';

COMMENT ON COLUMN public.market_states.evaluated_at IS 'When the last tick was evaluated, by the clock of the database: last_at is the time of the tick itself, which a recording has of long ago.';

CREATE TABLE public.order_idempotency_keys (
    user_id uuid NOT NULL,
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    order_id uuid NOT NULL
);

COMMENT ON TABLE public.order_idempotency_keys IS 'Further idempotency keys of an order: a repeated request that was recognised by its client_order_id may have a key of its own, which then names that order and no other.';

CREATE TABLE public.order_states (
    order_id uuid NOT NULL,
    user_id uuid NOT NULL,
    revision integer NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    reason text COLLATE pg_catalog."C",
    queue_rank bigint NOT NULL,
    held_asset text COLLATE pg_catalog."C",
    held numeric DEFAULT 0 NOT NULL,
    awaiting_alert_rule_id uuid,
    awaiting_alert_until timestamp with time zone,
    tick_sequence bigint NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    CONSTRAINT amounts_in_range CHECK (((held >= (0)::numeric) AND (held < '10000000000000000'::numeric) AND (held = round(held, 12)))),
    CONSTRAINT order_states_check CHECK (((held > (0)::numeric) = (status = 'open'::text))),
    CONSTRAINT order_states_revision_check CHECK ((revision > 0)),
    CONSTRAINT order_states_status_check CHECK ((status = ANY (ARRAY['open'::text, 'filled'::text, 'cancelled'::text, 'expired'::text, 'rejected'::text]))),
    CONSTRAINT reject_reason_known CHECK ((((reason IS NOT NULL) = (status = 'rejected'::text)) AND ((reason IS NULL) OR (reason = ANY (ARRAY['insufficient_funds'::text, 'no_price'::text, 'stale_price'::text, 'unknown_symbol'::text, 'too_precise'::text, 'too_small'::text, 'too_large'::text, 'too_many_open_orders'::text])))))
);

COMMENT ON TABLE public.order_states IS 'The state of each order that the trade-settler has decided. An order without a row here has the status received.';

COMMENT ON COLUMN public.order_states.queue_rank IS 'The FIFO rank among open orders at one price.';

COMMENT ON COLUMN public.order_states.held IS 'The amount that the order holds while it is open.';

COMMENT ON COLUMN public.order_states.awaiting_alert_rule_id IS 'The rule whose firing the order still waits for; awaiting_alert_until is when that rule expires.';

COMMENT ON COLUMN public.order_states.tick_sequence IS 'The last page of ticks that was applied before this state was decided.';

CREATE TABLE public.orders (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    terms jsonb NOT NULL,
    rule_id uuid,
    client_order_id text COLLATE pg_catalog."C",
    idempotency_key text COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    placed_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE public.orders IS 'Orders as their owners placed them.';

COMMENT ON COLUMN public.orders.rule_id IS 'The rule whose first firing places the order.';

COMMENT ON COLUMN public.orders.fingerprint IS 'The SHA-256 hash of the terms: a request with the same key and other terms is a conflict.';

CREATE TABLE public.outbox (
    id bigint NOT NULL,
    service text NOT NULL,
    subject text,
    message_id text,
    headers jsonb,
    body bytea,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    event_count integer DEFAULT 1 NOT NULL,
    batch_subjects text[],
    batch_message_ids text[],
    batch_headers text[],
    batch_bodies bytea[]
);
ALTER TABLE ONLY public.outbox ALTER COLUMN batch_subjects SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.outbox ALTER COLUMN batch_message_ids SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.outbox ALTER COLUMN batch_headers SET STORAGE EXTERNAL;
ALTER TABLE ONLY public.outbox ALTER COLUMN batch_bodies SET STORAGE EXTERNAL;

COMMENT ON TABLE public.outbox IS 'Events that are committed and not yet published. A row is deleted when the broker has acknowledged its events.';

COMMENT ON COLUMN public.outbox.service IS 'The service that publishes the events.';

COMMENT ON COLUMN public.outbox.event_count IS 'The number of events in this row.';

ALTER TABLE public.outbox ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.outbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.password_resets (
    id uuid NOT NULL,
    user_id uuid,
    address_hash bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone
);

COMMENT ON TABLE public.password_resets IS 'Requests for a new password. For an address without an account there is a row without a user: both must take the same time.';

CREATE TABLE public.posting_batches (
    first_posting bigint NOT NULL,
    last_posting bigint NOT NULL,
    posted_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT posting_batches_check CHECK ((last_posting >= first_posting))
);

COMMENT ON TABLE public.posting_batches IS 'Which postings were added together: they are checked at the end of their transaction, and the last one is the end of the ledger for whoever verifies it.';

CREATE TABLE public.postings (
    id bigint NOT NULL,
    kind text NOT NULL COLLATE pg_catalog."C",
    user_id uuid NOT NULL,
    cause uuid NOT NULL,
    at timestamp with time zone NOT NULL,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT postings_id_check CHECK ((id > 0)),
    CONSTRAINT postings_kind_check CHECK ((kind = ANY (ARRAY['deposit'::text, 'hold'::text, 'release'::text, 'fill'::text]))),
    CONSTRAINT time_is_finite CHECK (isfinite(at))
);

COMMENT ON TABLE public.postings IS 'Transfers that happen together. Each posting carries the hash of the one before it, so that the ledger is a hash chain.';

COMMENT ON COLUMN public.postings.cause IS 'The id of the order or the deposit.';

CREATE TABLE public.rule_states (
    rule_id uuid NOT NULL,
    revision bigint NOT NULL,
    status text NOT NULL,
    active_after bigint NOT NULL,
    active_since timestamp with time zone NOT NULL,
    reference_price numeric,
    reference_at timestamp with time zone,
    firing_count bigint DEFAULT 0 NOT NULL,
    last_fired_at timestamp with time zone,
    venue text,
    CONSTRAINT rule_states_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'active'::text, 'paused'::text, 'done'::text, 'expired'::text, 'deleted'::text])))
);

COMMENT ON TABLE public.rule_states IS 'The state that the alert-engine keeps of each rule: the revision that it has applied, the baseline and the number of firings.';

COMMENT ON COLUMN public.rule_states.active_after IS 'Ticks up to this sequence of stream TICKS are not evaluated.';

COMMENT ON COLUMN public.rule_states.active_since IS 'The time of the change that made the rule active: in a gap that began before, it would have seen only the ticks from then on.';

COMMENT ON COLUMN public.rule_states.firing_count IS 'The number of firings, suppressed ones included.';

COMMENT ON COLUMN public.rule_states.venue IS 'The venue that the rule names in the revision that the engine has applied; null for the primary venue.';

CREATE TABLE public.rules (
    id uuid NOT NULL,
    revision bigint DEFAULT 1 NOT NULL,
    status text NOT NULL,
    rule jsonb NOT NULL,
    manage_token_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    user_id uuid,
    CONSTRAINT rules_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'active'::text, 'paused'::text, 'deleted'::text])))
);

COMMENT ON TABLE public.rules IS 'Alert rules as the gateway writes them: the rule, of which only the venue changes, and the status that its owner wants.';

COMMENT ON COLUMN public.rules.revision IS 'Counts the changes of the rule from 1.';

COMMENT ON COLUMN public.rules.user_id IS 'The account that owns the rule; null for a rule that only its token manages.';

CREATE TABLE public.schema_format (
    format integer NOT NULL,
    CONSTRAINT schema_format_format_check CHECK ((format > 0))
);

COMMENT ON TABLE public.schema_format IS 'The format number of this schema, in one row. A build refuses a database of another format.';

CREATE TABLE public.sessions (
    token_hash bytea NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

COMMENT ON TABLE public.sessions IS 'Signed-in sessions by the SHA-256 hash of their token.';

CREATE TABLE public.settlement_markets (
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    at timestamp with time zone NOT NULL,
    ids jsonb NOT NULL
);

COMMENT ON TABLE public.settlement_markets IS 'The newest time of each market that the trade-settler has applied, and the ids of its ticks at that time. A tick of this time with one of these ids is a repeat, and an older one is late.';

CREATE TABLE public.settlement_prices (
    symbol text NOT NULL COLLATE pg_catalog."C",
    venue text NOT NULL COLLATE pg_catalog."C",
    is_primary boolean NOT NULL,
    tick_id text NOT NULL COLLATE pg_catalog."C",
    price numeric NOT NULL,
    at timestamp with time zone NOT NULL,
    sequence bigint NOT NULL,
    index smallint NOT NULL,
    CONSTRAINT amounts_in_range CHECK (((price > (0)::numeric) AND (price < '100000000000000'::numeric) AND (price = round(price, LEAST(18, (28 - length((trunc(price))::text)))))))
);

COMMENT ON TABLE public.settlement_prices IS 'The newest tick of each symbol at each venue that the trade-settler has applied.';

COMMENT ON COLUMN public.settlement_prices.is_primary IS 'The venue quoted the symbol first: orders that name no venue trade there.';

CREATE TABLE public.sign_ups (
    id uuid NOT NULL,
    email text NOT NULL,
    password_hash text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    used_at timestamp with time zone,
    contested boolean DEFAULT false NOT NULL
);

COMMENT ON TABLE public.sign_ups IS 'Requests for an account, until the link in the mail is followed. A row is also inserted for the address of an existing account, where no link leads to it: both must take the same time.';

COMMENT ON COLUMN public.sign_ups.contested IS 'Whether several sign-ups with this address have been open at a time. Each has its own password, and only one of them is the owner''s: then the link alone does not suffice.';

CREATE TABLE public.ticks (
    at timestamp with time zone NOT NULL,
    received_at timestamp with time zone NOT NULL,
    sequence bigint NOT NULL,
    instrument_id integer NOT NULL,
    index smallint NOT NULL,
    kind "char" NOT NULL,
    source "char" NOT NULL,
    price numeric NOT NULL,
    size numeric,
    trade_id text NOT NULL COLLATE pg_catalog."C",
    CONSTRAINT ticks_price_check CHECK ((price > (0)::numeric)),
    CONSTRAINT ticks_size_check CHECK ((size >= (0)::numeric))
)
PARTITION BY RANGE (at);

COMMENT ON TABLE public.ticks IS 'Every tick once: a repeat has the same instrument, time and trade id. Partitioned by month; the history-writer creates partitions ahead.';

COMMENT ON COLUMN public.ticks.sequence IS 'The sequence in stream TICKS of the page that brought the tick first.';

COMMENT ON COLUMN public.ticks.index IS 'The index of the tick in that page, from 0. Of ticks of one time, the one of the lower (sequence, index) came first.';

COMMENT ON COLUMN public.ticks.kind IS 't for a trade, q for a quote, p for a polled price.';

COMMENT ON COLUMN public.ticks.source IS 'l for live, b for a backfill, f for a file, s for the simulator.';

COMMENT ON COLUMN public.ticks.trade_id IS 'The id of the tick. One that is derived from the time of the tick is stored without it, from the slash behind it on.';

CREATE TABLE public.trades (
    order_id uuid NOT NULL,
    posting_id bigint NOT NULL,
    user_id uuid NOT NULL,
    symbol text NOT NULL COLLATE pg_catalog."C",
    side text NOT NULL COLLATE pg_catalog."C",
    size numeric NOT NULL,
    price numeric NOT NULL,
    quote_amount numeric NOT NULL,
    fee numeric NOT NULL,
    fee_bp integer NOT NULL,
    tick_id text NOT NULL COLLATE pg_catalog."C",
    tick_sequence bigint NOT NULL,
    tick_index smallint NOT NULL,
    tick_price numeric NOT NULL,
    tick_at timestamp with time zone NOT NULL,
    at timestamp with time zone NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT amounts_in_range CHECK (((size > (0)::numeric) AND (size < '10000000000000000'::numeric) AND (size = round(size, 12)) AND (price > (0)::numeric) AND (price < '100000000000000'::numeric) AND (price = round(price, LEAST(18, (28 - length((trunc(price))::text))))) AND (quote_amount > (0)::numeric) AND (quote_amount < '10000000000000000'::numeric) AND (quote_amount = round(quote_amount, 12)) AND (fee >= (0)::numeric) AND (fee < '10000000000000000'::numeric) AND (fee = round(fee, 12)) AND (tick_price > (0)::numeric) AND (tick_price < '100000000000000'::numeric) AND (tick_price = round(tick_price, LEAST(18, (28 - length((trunc(tick_price))::text))))))),
    CONSTRAINT time_is_finite CHECK ((isfinite(at) AND isfinite(tick_at))),
    CONSTRAINT trades_side_check CHECK ((side = ANY (ARRAY['buy'::text, 'sell'::text])))
);

COMMENT ON TABLE public.trades IS 'The trade of each filled order. An order trades once, as a whole.';

COMMENT ON COLUMN public.trades.quote_amount IS 'The amount of the quote asset before the fee.';

COMMENT ON COLUMN public.trades.fee_bp IS 'The rate of the fee, in basis points of the quote amount before rounding.';

COMMENT ON COLUMN public.trades.tick_id IS 'The id of the tick that priced the trade; tick_price is its price, and tick_at its time. It was at (tick_sequence, tick_index) of stream TICKS.';

COMMENT ON COLUMN public.trades.hash IS 'The SHA-256 hash of all other columns.';

CREATE TABLE public.transfers (
    posting_id bigint NOT NULL,
    number smallint NOT NULL,
    asset text NOT NULL COLLATE pg_catalog."C",
    from_account bigint NOT NULL,
    to_account bigint NOT NULL,
    amount numeric NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT amounts_in_range CHECK (((amount > (0)::numeric) AND (amount < '10000000000000000'::numeric))),
    CONSTRAINT transfers_check CHECK ((to_account <> from_account)),
    CONSTRAINT transfers_number_check CHECK ((number > 0))
);

COMMENT ON TABLE public.transfers IS 'An amount of an asset that goes from one account to another, numbered from 1 in its posting.';

CREATE TABLE public.users (
    id uuid NOT NULL,
    email text NOT NULL,
    password_hash text NOT NULL,
    role text DEFAULT 'user'::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'operator'::text])))
);

COMMENT ON TABLE public.users IS 'Accounts with a confirmed address. Erasing a user deletes the row; the id stays in the ledger as a pseudonym.';

COMMENT ON COLUMN public.users.password_hash IS 'An Argon2id hash in PHC string format.';

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_user_id_asset_kind_key UNIQUE NULLS NOT DISTINCT (user_id, asset, kind);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY public.archived_days
    ADD CONSTRAINT archived_days_pkey PRIMARY KEY (instrument_id, day);

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_pkey PRIMARY KEY (code);

ALTER TABLE ONLY public.batched_sources
    ADD CONSTRAINT batched_sources_pkey PRIMARY KEY (source_id);

ALTER TABLE ONLY public.candles
    ADD CONSTRAINT candles_pkey PRIMARY KEY (instrument_id, interval_seconds, start);

ALTER TABLE ONLY public.channel_states
    ADD CONSTRAINT channel_states_pkey PRIMARY KEY (channel);

ALTER TABLE ONLY public.consumer_positions
    ADD CONSTRAINT consumer_positions_pkey PRIMARY KEY (consumer);

ALTER TABLE ONLY public.dead_letters
    ADD CONSTRAINT dead_letters_stream_sequence_index_key UNIQUE NULLS NOT DISTINCT (stream, sequence, index);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deliveries
    ADD CONSTRAINT deliveries_source_id_channel_address_key UNIQUE (source_id, channel, address);

ALTER TABLE ONLY public.delivery_attempts
    ADD CONSTRAINT delivery_attempts_pkey PRIMARY KEY (delivery_id, attempt);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_reference_key UNIQUE (reference);

ALTER TABLE ONLY public.dropped_tick_months
    ADD CONSTRAINT dropped_tick_months_pkey PRIMARY KEY (first_day);

ALTER TABLE ONLY public.feed_gap_changes
    ADD CONSTRAINT feed_gap_changes_pkey PRIMARY KEY (venue, symbol);

ALTER TABLE ONLY public.feed_gaps
    ADD CONSTRAINT feed_gaps_pkey PRIMARY KEY (venue, symbol, lower_bound);

ALTER TABLE ONLY public.feed_states
    ADD CONSTRAINT feed_states_pkey PRIMARY KEY (venue, symbol);

ALTER TABLE ONLY public.feed_venues
    ADD CONSTRAINT feed_venues_pkey PRIMARY KEY (venue);

ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_pkey PRIMARY KEY (venue, symbol);

ALTER TABLE ONLY public.firings
    ADD CONSTRAINT firings_pkey PRIMARY KEY (rule_id, number);

ALTER TABLE ONLY public.instruments
    ADD CONSTRAINT instruments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.instruments
    ADD CONSTRAINT instruments_symbol_venue_key UNIQUE (symbol, venue);

ALTER TABLE ONLY public.late_verdicts
    ADD CONSTRAINT late_verdicts_pkey PRIMARY KEY (rule_id, gap_id);

ALTER TABLE ONLY public.latest_prices
    ADD CONSTRAINT latest_prices_pkey PRIMARY KEY (instrument_id);

ALTER TABLE ONLY public.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (service);

ALTER TABLE ONLY public.login_attempts
    ADD CONSTRAINT login_attempts_pkey PRIMARY KEY (subject_hash, kind, network);

ALTER TABLE ONLY public.market_gaps
    ADD CONSTRAINT market_gaps_pkey PRIMARY KEY (gap_id);

ALTER TABLE ONLY public.market_samples
    ADD CONSTRAINT market_samples_pkey PRIMARY KEY (symbol, venue, grain_seconds, slot);

ALTER TABLE ONLY public.market_states
    ADD CONSTRAINT market_states_pkey PRIMARY KEY (symbol, venue);

ALTER TABLE ONLY public.order_idempotency_keys
    ADD CONSTRAINT order_idempotency_keys_pkey PRIMARY KEY (user_id, idempotency_key);

ALTER TABLE ONLY public.order_states
    ADD CONSTRAINT order_states_pkey PRIMARY KEY (order_id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_rule_id_key UNIQUE (rule_id);

ALTER TABLE ONLY public.outbox
    ADD CONSTRAINT outbox_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.password_resets
    ADD CONSTRAINT password_resets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.posting_batches
    ADD CONSTRAINT posting_batches_pkey PRIMARY KEY (first_posting);

ALTER TABLE ONLY public.postings
    ADD CONSTRAINT postings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.rule_states
    ADD CONSTRAINT rule_states_pkey PRIMARY KEY (rule_id);

ALTER TABLE ONLY public.rules
    ADD CONSTRAINT rules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY public.settlement_markets
    ADD CONSTRAINT settlement_markets_pkey PRIMARY KEY (symbol, venue);

ALTER TABLE ONLY public.settlement_prices
    ADD CONSTRAINT settlement_prices_pkey PRIMARY KEY (symbol, venue);

ALTER TABLE ONLY public.sign_ups
    ADD CONSTRAINT sign_ups_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ticks
    ADD CONSTRAINT ticks_pkey PRIMARY KEY (instrument_id, at, trade_id);

ALTER TABLE ONLY public.trades
    ADD CONSTRAINT trades_pkey PRIMARY KEY (order_id);

ALTER TABLE ONLY public.transfers
    ADD CONSTRAINT transfers_pkey PRIMARY KEY (posting_id, number);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX api_keys_user ON public.api_keys USING btree (user_id);

CREATE INDEX deliveries_address ON public.deliveries USING btree (lower(address));

CREATE INDEX deliveries_due ON public.deliveries USING btree (next_attempt_at) WHERE (status = 'waiting'::text);

CREATE INDEX deliveries_of_rule ON public.deliveries USING btree (rule_id, created_at DESC) WHERE (rule_id IS NOT NULL);

CREATE INDEX deliveries_unsent ON public.deliveries USING btree (status) WHERE (status <> 'sent'::text);

CREATE INDEX deliveries_waiting_for_server ON public.deliveries USING btree (waits_for_server) WHERE (waits_for_server IS NOT NULL);

CREATE INDEX feed_gaps_open ON public.feed_gaps USING btree (venue, symbol) WHERE (state = ANY (ARRAY['open'::text, 'filling'::text]));

CREATE INDEX feed_gaps_symbol ON public.feed_gaps USING btree (symbol, venue, gap_from);

CREATE UNIQUE INDEX instruments_primary ON public.instruments USING btree (symbol) WHERE is_primary;

CREATE INDEX late_verdicts_gap ON public.late_verdicts USING btree (gap_id);

CREATE INDEX login_attempts_last ON public.login_attempts USING btree (last_failed_at);

CREATE INDEX market_gaps_saved ON public.market_gaps USING btree (saved_at) WHERE (stage = 'judged'::text);

CREATE INDEX market_gaps_unjudged ON public.market_gaps USING btree (gap_id) WHERE (stage <> 'judged'::text);

CREATE UNIQUE INDEX market_states_primary ON public.market_states USING btree (symbol) WHERE is_primary;

CREATE INDEX order_idempotency_keys_order ON public.order_idempotency_keys USING btree (order_id);

CREATE INDEX order_states_open ON public.order_states USING btree (order_id) WHERE (status = 'open'::text);

CREATE UNIQUE INDEX orders_client_order_id ON public.orders USING btree (user_id, client_order_id) WHERE (client_order_id IS NOT NULL);

CREATE UNIQUE INDEX orders_idempotency_key ON public.orders USING btree (user_id, idempotency_key) WHERE (idempotency_key IS NOT NULL);

CREATE INDEX orders_user ON public.orders USING btree (user_id, id);

CREATE INDEX outbox_service ON public.outbox USING btree (service, id);

CREATE INDEX password_resets_address ON public.password_resets USING btree (address_hash, created_at);

CREATE INDEX password_resets_created ON public.password_resets USING btree (created_at);

CREATE INDEX password_resets_expired ON public.password_resets USING btree (expires_at);

CREATE INDEX password_resets_user ON public.password_resets USING btree (user_id);

CREATE UNIQUE INDEX postings_deposit ON public.postings USING btree (cause) WHERE (kind = 'deposit'::text);

CREATE INDEX postings_user ON public.postings USING btree (user_id, id);

CREATE INDEX rule_states_active ON public.rule_states USING btree (rule_id) WHERE (status = 'active'::text);

CREATE INDEX rules_address ON public.rules USING btree (lower((rule #>> '{notify,email}'::text[])));

CREATE INDEX rules_market ON public.rules USING btree (((rule ->> 'symbol'::text)), COALESCE((rule ->> 'venue'::text), ''::text)) WHERE (status = 'active'::text);

CREATE INDEX rules_user ON public.rules USING btree (user_id, id) WHERE (user_id IS NOT NULL);

CREATE UNIQUE INDEX schema_format_single_row ON public.schema_format USING btree ((true));

CREATE INDEX sessions_expired ON public.sessions USING btree (expires_at);

CREATE INDEX sessions_user ON public.sessions USING btree (user_id);

CREATE UNIQUE INDEX settlement_prices_primary ON public.settlement_prices USING btree (symbol) WHERE is_primary;

CREATE INDEX sign_ups_email ON public.sign_ups USING btree (lower(email), created_at);

CREATE INDEX sign_ups_expired ON public.sign_ups USING btree (expires_at);

CREATE INDEX trades_user ON public.trades USING btree (user_id, posting_id);

CREATE UNIQUE INDEX users_email ON public.users USING btree (lower(email));

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.assets FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.posting_batches FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.postings FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.trades FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change();

CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.transfers FOR EACH STATEMENT EXECUTE FUNCTION public.reject_change();

CREATE TRIGGER check_hash_chain AFTER INSERT ON public.postings REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.check_hash_chain();

CREATE CONSTRAINT TRIGGER check_postings_balance AFTER INSERT ON public.posting_batches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.check_postings_balance();

CREATE TRIGGER move_balances AFTER INSERT ON public.transfers REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION public.move_balances();

ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_asset_fkey FOREIGN KEY (asset) REFERENCES public.assets(code);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.archived_days
    ADD CONSTRAINT archived_days_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES public.instruments(id);

ALTER TABLE ONLY public.assets
    ADD CONSTRAINT assets_quote_fkey FOREIGN KEY (quote) REFERENCES public.assets(code);

ALTER TABLE ONLY public.candles
    ADD CONSTRAINT candles_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES public.instruments(id);

ALTER TABLE ONLY public.delivery_attempts
    ADD CONSTRAINT delivery_attempts_delivery_id_fkey FOREIGN KEY (delivery_id) REFERENCES public.deliveries(id);

ALTER TABLE ONLY public.deposits
    ADD CONSTRAINT deposits_asset_fkey FOREIGN KEY (asset) REFERENCES public.assets(code);

ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_venue_fkey FOREIGN KEY (venue) REFERENCES public.feed_venues(venue);

ALTER TABLE ONLY public.firings
    ADD CONSTRAINT firings_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES public.rules(id);

ALTER TABLE ONLY public.late_verdicts
    ADD CONSTRAINT late_verdicts_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES public.rules(id);

ALTER TABLE ONLY public.latest_prices
    ADD CONSTRAINT latest_prices_instrument_id_fkey FOREIGN KEY (instrument_id) REFERENCES public.instruments(id);

ALTER TABLE ONLY public.order_idempotency_keys
    ADD CONSTRAINT order_idempotency_keys_order_id_fkey FOREIGN KEY (order_id) REFERENCES public.orders(id);

ALTER TABLE ONLY public.password_resets
    ADD CONSTRAINT password_resets_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.rule_states
    ADD CONSTRAINT rule_states_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES public.rules(id);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

CREATE POLICY alert_engine_sees_history ON public.consumer_positions FOR SELECT USING (((CURRENT_USER = 'tickbell_alert_engine'::name) AND (consumer = 'history-writer'::text)));

ALTER TABLE public.consumer_positions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.dead_letters ENABLE ROW LEVEL SECURITY;

CREATE POLICY gateway_sees_all ON public.consumer_positions FOR SELECT USING ((CURRENT_USER = 'tickbell_gateway'::name));

ALTER TABLE public.leases ENABLE ROW LEVEL SECURITY;

CREATE POLICY operator_sees_all ON public.consumer_positions FOR SELECT USING ((CURRENT_USER = 'tickbell_operator'::name));

CREATE POLICY operator_sees_all ON public.dead_letters FOR SELECT USING ((CURRENT_USER = 'tickbell_operator'::name));

CREATE POLICY operator_sees_all ON public.leases FOR SELECT USING ((CURRENT_USER = 'tickbell_operator'::name));

CREATE POLICY operator_sees_all ON public.outbox FOR SELECT USING ((CURRENT_USER = 'tickbell_operator'::name));

ALTER TABLE public.outbox ENABLE ROW LEVEL SECURITY;

CREATE POLICY own_rows ON public.consumer_positions USING (((consumer = replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text)) OR (consumer ~~ (replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text) || '-%'::text))));

CREATE POLICY own_rows ON public.dead_letters USING ((service = replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text)));

CREATE POLICY own_rows ON public.leases USING (((service = replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text)) OR (service ~~ (replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text) || '-%'::text))));

CREATE POLICY own_rows ON public.outbox USING ((service = replace("substring"((CURRENT_USER)::text, 'tickbell_(.*)'::text), '_'::text, '-'::text)));
