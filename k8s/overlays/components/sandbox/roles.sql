-- The services log in as themselves, as in production; `tickbell migrate` gives them their rights.
create role tickbell_price_ingestor login password 'local-only';
create role tickbell_alert_engine login password 'local-only';
create role tickbell_history_writer login password 'local-only';
create role tickbell_archiver login password 'local-only';
create role tickbell_trade_settler login password 'local-only';
create role tickbell_notifier login password 'local-only';
create role tickbell_kafka_bridge login password 'local-only';
create role tickbell_gateway login password 'local-only';
