-- Refuses a replay of what no service publishes, such as a message of stream DLQ that the Kafka bridge has given up, before anything
-- is recorded of it.

CREATE FUNCTION dead_letter_publisher(rejected_stream text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE rejected_stream
        WHEN 'TICKS' THEN 'history-writer' WHEN 'CANDLES' THEN 'history-writer' WHEN 'FEEDS' THEN 'price-ingestor'
        WHEN 'RULES' THEN 'gateway' WHEN 'ORDERS' THEN 'gateway' WHEN 'USERS' THEN 'gateway'
        WHEN 'ALERTS' THEN 'alert-engine' WHEN 'TRADES' THEN 'trade-settler' WHEN 'DELIVERIES' THEN 'notifier' END
$$;
COMMENT ON FUNCTION dead_letter_publisher(text) IS
    'Returns the service that publishes a message of a stream again; null where none does. History-writers, which always run, publish ticks: a price-ingestor may run without a database.';

CREATE OR REPLACE FUNCTION replay_dead_letter(rejected_stream text, rejected_sequence bigint, rejected_index smallint, operator uuid,
                                              subject text, message_id text, headers text, body bytea) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
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

-- These were never published again.
UPDATE dead_letters SET replayed_at = NULL, replayed_by = NULL
WHERE replayed_at IS NOT NULL AND dead_letter_publisher(stream) IS NULL;
