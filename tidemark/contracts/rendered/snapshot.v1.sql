CREATE TABLE IF NOT EXISTS raw.snapshot_v1 (
    load_id         bigint NOT NULL,
    exchange        text,
    market          text,
    code            text,
    event_at        timestamptz,
    document        jsonb,
    source          text NOT NULL,
    received_at     timestamptz NOT NULL,
    connection_id   text,
    frame_no        bigint,
    kafka_cluster   text NOT NULL,
    kafka_epoch     bigint NOT NULL,
    kafka_topic     text NOT NULL,
    kafka_partition bigint NOT NULL,
    kafka_offset    bigint NOT NULL,
    item            bigint NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX IF NOT EXISTS snapshot_v1_load_id ON raw.snapshot_v1 USING brin (load_id);
COMMENT ON TABLE raw.snapshot_v1 IS 'What one answer of the exchange says of the state of one market. As it was received; never changed.';
COMMENT ON COLUMN raw.snapshot_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.snapshot_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.snapshot_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.snapshot_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.snapshot_v1.event_at IS 'When it was asked for, by our clock; the exchange''s own time is in the document. UTC.';
COMMENT ON COLUMN raw.snapshot_v1.document IS 'All that the exchange says of the market, by its own names.';
COMMENT ON COLUMN raw.snapshot_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.snapshot_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.snapshot_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.snapshot_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.snapshot_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.snapshot_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.snapshot_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.snapshot_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.snapshot_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.snapshot_v1.item IS 'Place of the event within its frame or answer, from 0.';
