-- Rows of raw that are not in silver, each with its reason: raw = silver + duplicate + superseded + quarantine.

CREATE TABLE silver.duplicate (
    exchange        text NOT NULL,
    dataset         text NOT NULL,
    market          text NOT NULL,
    event_at        timestamptz NOT NULL,
    natural_key     text NOT NULL,
    content_hash    text NOT NULL,
    source          text NOT NULL,
    load_id         bigint NOT NULL,
    received_at     timestamptz NOT NULL,
    kafka_cluster   text NOT NULL,
    kafka_epoch     bigint NOT NULL,
    kafka_topic     text NOT NULL,
    kafka_partition bigint NOT NULL,
    kafka_offset    bigint NOT NULL,
    item            bigint NOT NULL,
    PRIMARY KEY (dataset, kafka_topic, kafka_cluster, kafka_epoch, kafka_partition, kafka_offset, item)
);
CREATE INDEX duplicate_key ON silver.duplicate (dataset, exchange, natural_key);
CREATE INDEX duplicate_event ON silver.duplicate (dataset, exchange, event_at);
COMMENT ON TABLE silver.duplicate IS 'Raw rows that say again what another row, which is in silver, says.';

CREATE TABLE silver.superseded (LIKE silver.duplicate INCLUDING ALL);
COMMENT ON TABLE silver.superseded IS 'Raw rows whose event a later state replaced: earlier states of a candle.';

CREATE TABLE silver.quarantine (
    exchange        text,
    dataset         text NOT NULL,
    market          text,
    event_at        timestamptz,
    hour_at         timestamptz NOT NULL,
    reason          text NOT NULL,
    natural_key     text,
    content_hash    text,
    payload         jsonb NOT NULL,
    source          text NOT NULL,
    load_id         bigint NOT NULL,
    received_at     timestamptz NOT NULL,
    kafka_cluster   text NOT NULL,
    kafka_epoch     bigint NOT NULL,
    kafka_topic     text NOT NULL,
    kafka_partition bigint NOT NULL,
    kafka_offset    bigint NOT NULL,
    item            bigint NOT NULL,
    quarantined_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset, kafka_topic, kafka_cluster, kafka_epoch, kafka_partition, kafka_offset, item)
);
CREATE INDEX quarantine_key ON silver.quarantine (dataset, exchange, natural_key);
CREATE INDEX quarantine_hour ON silver.quarantine (dataset, exchange, hour_at);
COMMENT ON TABLE silver.quarantine IS 'Raw rows that silver refuses, with the reason; hour_at is the event hour, or the receive hour where the event has no time.';
