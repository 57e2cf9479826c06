CREATE TABLE IF NOT EXISTS raw.depth_v1 (
    load_id         bigint NOT NULL,
    exchange        text,
    market          text,
    code            text,
    event_at        timestamptz,
    changed_at      timestamptz,
    kind            text,
    first_update_id bigint,
    last_update_id  bigint,
    prev_update_id  bigint,
    ask_prices      numeric[],
    ask_sizes       numeric[],
    bid_prices      numeric[],
    bid_sizes       numeric[],
    checksum        bigint,
    size_unit       text,
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
CREATE INDEX IF NOT EXISTS depth_v1_load_id ON raw.depth_v1 USING brin (load_id);
COMMENT ON TABLE raw.depth_v1 IS 'One change of one market''s book, or a snapshot of it. As it was received; never changed.';
COMMENT ON COLUMN raw.depth_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.depth_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.depth_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.depth_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.depth_v1.event_at IS 'When the exchange sent it. UTC.';
COMMENT ON COLUMN raw.depth_v1.changed_at IS 'When the matching engine did it; null where the exchange doesn''t say. UTC.';
COMMENT ON COLUMN raw.depth_v1.kind IS 'Whether the book begins anew with it. One of snapshot, update.';
COMMENT ON COLUMN raw.depth_v1.first_update_id IS 'First number that the change covers; null where there is none.';
COMMENT ON COLUMN raw.depth_v1.last_update_id IS 'Last number that it covers.';
COMMENT ON COLUMN raw.depth_v1.prev_update_id IS 'last_update_id of the change before it; null at a snapshot.';
COMMENT ON COLUMN raw.depth_v1.ask_prices IS 'Ask prices that changed, or all of them. Quote currency.';
COMMENT ON COLUMN raw.depth_v1.ask_sizes IS 'Sizes now at those prices; 0: the level is gone. Base currency.';
COMMENT ON COLUMN raw.depth_v1.bid_prices IS 'Bid prices that changed, or all of them. Quote currency.';
COMMENT ON COLUMN raw.depth_v1.bid_sizes IS 'Sizes now at those prices; 0: the level is gone. Base currency.';
COMMENT ON COLUMN raw.depth_v1.checksum IS 'The exchange''s checksum of the book after it; null where it gives none.';
COMMENT ON COLUMN raw.depth_v1.size_unit IS 'contract: the sizes are contracts, whose size was unknown at receipt. Null: they are coins. One of contract.';
COMMENT ON COLUMN raw.depth_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.depth_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.depth_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.depth_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.depth_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.depth_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.depth_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.depth_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.depth_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.depth_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.depth_v1.item IS 'Place of the event within its frame or answer, from 0.';
