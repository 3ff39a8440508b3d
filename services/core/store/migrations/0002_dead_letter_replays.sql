-- Lets an operator have a dead letter published again by way of the gateway, which may not publish to the streams of other
-- services: the service that publishes it takes it from its outbox.

ALTER TABLE dead_letters
    ADD COLUMN digest      bytea CHECK (length(digest) = 32),
    ADD COLUMN replayed_at timestamptz,
    ADD COLUMN replayed_by uuid;
COMMENT ON COLUMN dead_letters.digest IS
    'The SHA-256 of what is published again: the subject, the headers as a JSON array of pairs, each with a line feed behind it, and the body. Null where an earlier version recorded the dead letter.';
COMMENT ON COLUMN dead_letters.replayed_at IS 'The time at which it was last published again by way of the API; null where it never was.';
COMMENT ON COLUMN dead_letters.replayed_by IS 'The operator who asked for that. It stays when the account is erased, and then names nobody.';

-- Adds the message of a dead letter to the outbox of the service that publishes it, and returns the name of the service; null where
-- no dead letter has this digest. So whoever may call this can have published again what a service has given up, and can
-- forge nothing. History-writers, which always run, publish ticks again: a price-ingestor may run without a database.
CREATE FUNCTION replay_dead_letter(rejected_stream text, rejected_sequence bigint, rejected_index smallint, operator uuid,
                                   subject text, message_id text, headers text, body bytea) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    publisher CONSTANT text := CASE rejected_stream
        WHEN 'TICKS' THEN 'history-writer' WHEN 'CANDLES' THEN 'history-writer' WHEN 'FEEDS' THEN 'price-ingestor'
        WHEN 'RULES' THEN 'gateway' WHEN 'ORDERS' THEN 'gateway' WHEN 'USERS' THEN 'gateway'
        WHEN 'ALERTS' THEN 'alert-engine' WHEN 'TRADES' THEN 'trade-settler' WHEN 'DELIVERIES' THEN 'notifier' END;
BEGIN
    UPDATE public.dead_letters SET replayed_at = now(), replayed_by = operator
    WHERE stream = rejected_stream AND sequence = rejected_sequence AND index IS NOT DISTINCT FROM rejected_index
      AND digest = sha256(convert_to(replay_dead_letter.subject || E'\n' || replay_dead_letter.headers || E'\n', 'UTF8')
                          || replay_dead_letter.body);
    IF NOT FOUND OR publisher IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO public.outbox (service, subject, message_id, headers, body)
    VALUES (publisher, replay_dead_letter.subject, replay_dead_letter.message_id, replay_dead_letter.headers::jsonb,
            replay_dead_letter.body);
    PERFORM pg_notify('outbox/' || publisher, '');
    RETURN publisher;
END $$;
