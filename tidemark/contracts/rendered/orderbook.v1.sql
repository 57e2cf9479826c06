CREATE TABLE IF NOT EXISTS raw.orderbook_v1 (
    load_id         bigint NOT NULL,
    exchange        text,
    market          text,
    code            text,
    event_at        timestamptz,
    total_ask_size  numeric,
    total_bid_size  numeric,
    ask_prices      numeric[],
    ask_sizes       numeric[],
    bid_prices      numeric[],
    bid_sizes       numeric[],
    "level"         numeric,
    stream_type     text,
    update_id       bigint,
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
CREATE INDEX IF NOT EXISTS orderbook_v1_load_id ON raw.orderbook_v1 USING brin (load_id);
COMMENT ON TABLE raw.orderbook_v1 IS 'The complete book of one market at one moment, best level first. As it was received; never changed.';
COMMENT ON COLUMN raw.orderbook_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.orderbook_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.orderbook_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.orderbook_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.orderbook_v1.event_at IS 'When the book had this state (its `timestamp`). UTC.';
COMMENT ON COLUMN raw.orderbook_v1.total_ask_size IS 'Sum of the ask sizes: as the exchange states it, else of the levels here. Base currency.';
COMMENT ON COLUMN raw.orderbook_v1.total_bid_size IS 'Sum of the bid sizes: as the exchange states it, else of the levels here. Base currency.';
COMMENT ON COLUMN raw.orderbook_v1.ask_prices IS 'Ask prices, lowest first; levels padded with zero are left out. Quote currency.';
COMMENT ON COLUMN raw.orderbook_v1.ask_sizes IS 'Sizes of the asks, in the order of ask_prices. Base currency.';
COMMENT ON COLUMN raw.orderbook_v1.bid_prices IS 'Bid prices, highest first; levels padded with zero are left out. Quote currency.';
COMMENT ON COLUMN raw.orderbook_v1.bid_sizes IS 'Sizes of the bids, in the order of bid_prices. Base currency.';
COMMENT ON COLUMN raw.orderbook_v1."level" IS 'Price step that levels are grouped by; 0: not grouped. Quote currency.';
COMMENT ON COLUMN raw.orderbook_v1.stream_type IS 'SNAPSHOT: the state at the time of subscribing; REALTIME: a change. Null for REST. One of SNAPSHOT, REALTIME.';
COMMENT ON COLUMN raw.orderbook_v1.update_id IS 'Number of the last change in the book; null where the exchange has none.';
COMMENT ON COLUMN raw.orderbook_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.orderbook_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.orderbook_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.orderbook_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.orderbook_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.orderbook_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.orderbook_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.orderbook_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.orderbook_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.orderbook_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.orderbook_v1.item IS 'Place of the event within its frame or answer, from 0.';
