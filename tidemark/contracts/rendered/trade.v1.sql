CREATE TABLE IF NOT EXISTS raw.trade_v1 (
    load_id            bigint NOT NULL,
    exchange           text,
    market             text,
    code               text,
    trade_id           bigint,
    event_at           timestamptz,
    price              numeric,
    size               numeric,
    side               text,
    published_at       timestamptz,
    prev_closing_price numeric,
    change             text,
    change_price       numeric,
    best_ask_price     numeric,
    best_ask_size      numeric,
    best_bid_price     numeric,
    best_bid_size      numeric,
    stream_type        text,
    first_trade_id     bigint,
    last_trade_id      bigint,
    size_contracts     numeric,
    size_without_rpi   numeric,
    order_source       text,
    sequence_id        bigint,
    extra              jsonb,
    source             text NOT NULL,
    received_at        timestamptz NOT NULL,
    connection_id      text,
    frame_no           bigint,
    kafka_cluster      text NOT NULL,
    kafka_epoch        bigint NOT NULL,
    kafka_topic        text NOT NULL,
    kafka_partition    bigint NOT NULL,
    kafka_offset       bigint NOT NULL,
    item               bigint NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX IF NOT EXISTS trade_v1_load_id ON raw.trade_v1 USING brin (load_id);
COMMENT ON TABLE raw.trade_v1 IS 'One execution on one market, or what the exchange itself sums up as one (see first_trade_id). As it was received; never changed.';
COMMENT ON COLUMN raw.trade_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.trade_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.trade_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.trade_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.trade_v1.trade_id IS 'The exchange''s id: unique within a market, larger than 2^53, not in order of time.';
COMMENT ON COLUMN raw.trade_v1.event_at IS 'When it was executed. UTC.';
COMMENT ON COLUMN raw.trade_v1.price IS 'Price of the execution. Quote currency.';
COMMENT ON COLUMN raw.trade_v1.size IS 'Amount that changed hands. Base currency.';
COMMENT ON COLUMN raw.trade_v1.side IS 'Side of the taker. One of buy, sell.';
COMMENT ON COLUMN raw.trade_v1.published_at IS 'When the exchange published it; null for REST. UTC.';
COMMENT ON COLUMN raw.trade_v1.prev_closing_price IS 'Close of the previous UTC day. Quote currency.';
COMMENT ON COLUMN raw.trade_v1.change IS 'Direction against the previous UTC day''s close. One of RISE, EVEN, FALL.';
COMMENT ON COLUMN raw.trade_v1.change_price IS 'Distance from the previous close, without sign. Quote currency.';
COMMENT ON COLUMN raw.trade_v1.best_ask_price IS 'Lowest ask at the trade; null before 2024-11-27 and for REST. Quote currency.';
COMMENT ON COLUMN raw.trade_v1.best_ask_size IS 'Size at the lowest ask. Base currency.';
COMMENT ON COLUMN raw.trade_v1.best_bid_price IS 'Highest bid at the trade. Quote currency.';
COMMENT ON COLUMN raw.trade_v1.best_bid_size IS 'Size at the highest bid. Base currency.';
COMMENT ON COLUMN raw.trade_v1.stream_type IS 'SNAPSHOT: the state at the time of subscribing; REALTIME: a change. Null for REST. One of SNAPSHOT, REALTIME.';
COMMENT ON COLUMN raw.trade_v1.first_trade_id IS 'First id that the row stands for; null where a row is one trade. A row stands for at most 100,000.';
COMMENT ON COLUMN raw.trade_v1.last_trade_id IS 'Last id that the row stands for; null where a row is one trade.';
COMMENT ON COLUMN raw.trade_v1.size_contracts IS 'The amount as the exchange counts it; null where it counts coins. In raw and in the lake `size` is null where no size of the contract was known at receipt: silver computes it from the exchange''s list. Contracts.';
COMMENT ON COLUMN raw.trade_v1.size_without_rpi IS 'The amount without orders of retail price improvement; null where the exchange doesn''t say. Base currency.';
COMMENT ON COLUMN raw.trade_v1.order_source IS 'Source of the maker''s orders by the exchange''s own code (OKX: 0 normal, 1 retail price improvement).';
COMMENT ON COLUMN raw.trade_v1.sequence_id IS 'The exchange''s sequence number of the message; several trades may share one. Null where there is none.';
COMMENT ON COLUMN raw.trade_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.trade_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.trade_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.trade_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.trade_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.trade_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.trade_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.trade_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.trade_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.trade_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.trade_v1.item IS 'Place of the event within its frame or answer, from 0.';
