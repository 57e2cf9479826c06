CREATE TABLE IF NOT EXISTS raw.system_v1 (
    load_id         bigint NOT NULL,
    exchange        text,
    kind            text,
    connection      text,
    worker          text,
    event_at        timestamptz,
    frames          bigint,
    reason          text,
    subscription    jsonb,
    extra           jsonb,
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
CREATE INDEX IF NOT EXISTS system_v1_load_id ON raw.system_v1 USING brin (load_id);
COMMENT ON TABLE raw.system_v1 IS 'One connection opened, alive or closed, or one break in the numbers of a stream. As it was received; never changed.';
COMMENT ON COLUMN raw.system_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.system_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.system_v1.kind IS 'What happened. One of open, alive, close, break.';
COMMENT ON COLUMN raw.system_v1.connection IS 'The connection it happened to.';
COMMENT ON COLUMN raw.system_v1.worker IS 'Name of the producer that owns the connection.';
COMMENT ON COLUMN raw.system_v1.event_at IS 'When it happened, by our clock. UTC.';
COMMENT ON COLUMN raw.system_v1.frames IS 'Frames received over the connection; null at opening.';
COMMENT ON COLUMN raw.system_v1.reason IS 'Why it was closed, or what broke; null at opening.';
COMMENT ON COLUMN raw.system_v1.subscription IS 'Datasets and codes asked for; null otherwise.';
COMMENT ON COLUMN raw.system_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.system_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.system_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.system_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.system_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.system_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.system_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.system_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.system_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.system_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.system_v1.item IS 'Place of the event within its frame or answer, from 0.';
