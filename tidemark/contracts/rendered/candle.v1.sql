CREATE TABLE IF NOT EXISTS raw.candle_v1 (
    load_id             bigint NOT NULL,
    exchange            text,
    market              text,
    code                text,
    "interval"          text,
    event_at            timestamptz,
    "open"              numeric,
    high                numeric,
    low                 numeric,
    "close"             numeric,
    volume_base         numeric,
    volume_quote        numeric,
    updated_at          timestamptz,
    is_closed           boolean,
    prev_closing_price  numeric,
    signed_change_price numeric,
    signed_change_rate  numeric,
    stream_type         text,
    trade_count         bigint,
    buy_volume_base     numeric,
    buy_volume_quote    numeric,
    volume_contracts    numeric,
    first_trade_id      bigint,
    last_trade_id       bigint,
    extra               jsonb,
    source              text NOT NULL,
    received_at         timestamptz NOT NULL,
    connection_id       text,
    frame_no            bigint,
    kafka_cluster       text NOT NULL,
    kafka_epoch         bigint NOT NULL,
    kafka_topic         text NOT NULL,
    kafka_partition     bigint NOT NULL,
    kafka_offset        bigint NOT NULL,
    item                bigint NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX IF NOT EXISTS candle_v1_load_id ON raw.candle_v1 USING brin (load_id);
COMMENT ON TABLE raw.candle_v1 IS 'One state of one bar; the state with the latest updated_at is the bar. As it was received; never changed.';
COMMENT ON COLUMN raw.candle_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.candle_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.candle_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.candle_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.candle_v1."interval" IS 'Length of the bar. One of 1s, 1m, 3m, 5m, 10m, 15m, 30m, 1h, 2h, 4h, 6h, 8h, 12h, 1d, 2d, 3d, 5d, 1w, 1mo, 3mo.';
COMMENT ON COLUMN raw.candle_v1.event_at IS 'Start of the bar. UTC.';
COMMENT ON COLUMN raw.candle_v1."open" IS 'Price of the first trade. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.high IS 'Highest price. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.low IS 'Lowest price. Quote currency.';
COMMENT ON COLUMN raw.candle_v1."close" IS 'Price of the latest trade. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.volume_base IS 'Volume. Base currency.';
COMMENT ON COLUMN raw.candle_v1.volume_quote IS 'Value traded. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.updated_at IS 'Time of the latest tick in this state; may lie after the bar''s end. Where the exchange doesn''t say: the bar''s start while it is forming, its end once it is closed. UTC.';
COMMENT ON COLUMN raw.candle_v1.is_closed IS 'Whether the exchange says the bar is finished; null where it doesn''t say.';
COMMENT ON COLUMN raw.candle_v1.prev_closing_price IS 'Close of the previous UTC day; daily bars only. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.signed_change_price IS 'Close less the previous close; daily bars only. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.signed_change_rate IS 'That change as a share of the previous close; daily bars only. Ratio: 0.01 is 1 %.';
COMMENT ON COLUMN raw.candle_v1.stream_type IS 'SNAPSHOT: the state at the time of subscribing; REALTIME: a change. Null for REST. One of SNAPSHOT, REALTIME.';
COMMENT ON COLUMN raw.candle_v1.trade_count IS 'Trades in the bar; null where the exchange doesn''t say.';
COMMENT ON COLUMN raw.candle_v1.buy_volume_base IS 'Volume bought by takers; null where the exchange doesn''t say. Base currency.';
COMMENT ON COLUMN raw.candle_v1.buy_volume_quote IS 'Value bought by takers; null where the exchange doesn''t say. Quote currency.';
COMMENT ON COLUMN raw.candle_v1.volume_contracts IS 'Volume in contracts; derivatives only. Contracts.';
COMMENT ON COLUMN raw.candle_v1.first_trade_id IS 'Id of the bar''s first trade; null where the exchange doesn''t say.';
COMMENT ON COLUMN raw.candle_v1.last_trade_id IS 'Id of the bar''s latest trade; null where the exchange doesn''t say.';
COMMENT ON COLUMN raw.candle_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.candle_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.candle_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.candle_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.candle_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.candle_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.candle_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.candle_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.candle_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.candle_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.candle_v1.item IS 'Place of the event within its frame or answer, from 0.';
