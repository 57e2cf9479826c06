CREATE TABLE IF NOT EXISTS raw.ticker_v1 (
    load_id                bigint NOT NULL,
    exchange               text,
    market                 text,
    code                   text,
    event_at               timestamptz,
    opening_price          numeric,
    high_price             numeric,
    low_price              numeric,
    trade_price            numeric,
    prev_closing_price     numeric,
    change                 text,
    change_price           numeric,
    signed_change_price    numeric,
    change_rate            numeric,
    signed_change_rate     numeric,
    trade_volume           numeric,
    acc_trade_volume       numeric,
    acc_trade_volume_24h   numeric,
    acc_trade_price        numeric,
    acc_trade_price_24h    numeric,
    trade_date             text,
    trade_time             text,
    trade_at               timestamptz,
    side                   text,
    acc_ask_volume         numeric,
    acc_bid_volume         numeric,
    highest_52_week_price  numeric,
    highest_52_week_date   text,
    lowest_52_week_price   numeric,
    lowest_52_week_date    text,
    market_state           text,
    is_trading_suspended   boolean,
    delisting_date         text,
    market_warning         text,
    stream_type            text,
    best_ask_price         numeric,
    best_ask_size          numeric,
    best_bid_price         numeric,
    best_bid_size          numeric,
    open_price_24h         numeric,
    high_price_24h         numeric,
    low_price_24h          numeric,
    trade_volume_contracts numeric,
    best_ask_contracts     numeric,
    best_bid_contracts     numeric,
    extra                  jsonb,
    source                 text NOT NULL,
    received_at            timestamptz NOT NULL,
    connection_id          text,
    frame_no               bigint,
    kafka_cluster          text NOT NULL,
    kafka_epoch            bigint NOT NULL,
    kafka_topic            text NOT NULL,
    kafka_partition        bigint NOT NULL,
    kafka_offset           bigint NOT NULL,
    item                   bigint NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX IF NOT EXISTS ticker_v1_load_id ON raw.ticker_v1 USING brin (load_id);
COMMENT ON TABLE raw.ticker_v1 IS 'The state of one market at one moment. As it was received; never changed.';
COMMENT ON COLUMN raw.ticker_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.ticker_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.ticker_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.ticker_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.ticker_v1.event_at IS 'When the exchange produced the frame (its `timestamp`). UTC.';
COMMENT ON COLUMN raw.ticker_v1.opening_price IS 'First price since 00:00 UTC. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.high_price IS 'Highest price since 00:00 UTC. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.low_price IS 'Lowest price since 00:00 UTC. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.trade_price IS 'Last price; null before the market''s first trade. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.prev_closing_price IS 'Close of the previous UTC day. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.change IS 'Direction against the previous UTC day''s close. One of RISE, EVEN, FALL.';
COMMENT ON COLUMN raw.ticker_v1.change_price IS 'Distance from the previous close, without sign. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.signed_change_price IS 'Last price less the previous close. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.change_rate IS 'Distance from the previous close as a share of it, without sign. Ratio: 0.01 is 1 %.';
COMMENT ON COLUMN raw.ticker_v1.signed_change_rate IS 'Change against the previous close as a share of it. Ratio: 0.01 is 1 %.';
COMMENT ON COLUMN raw.ticker_v1.trade_volume IS 'Size of the latest trade. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.acc_trade_volume IS 'Volume since 00:00 UTC. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.acc_trade_volume_24h IS 'Volume of the last 24 hours. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.acc_trade_price IS 'Value traded since 00:00 UTC. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.acc_trade_price_24h IS 'Value traded in the last 24 hours. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.trade_date IS 'Date of the latest trade, yyyyMMdd. UTC.';
COMMENT ON COLUMN raw.ticker_v1.trade_time IS 'Time of the latest trade, HHmmss. UTC.';
COMMENT ON COLUMN raw.ticker_v1.trade_at IS 'When the latest trade was executed (`trade_timestamp`). UTC.';
COMMENT ON COLUMN raw.ticker_v1.side IS 'Side of the latest trade''s taker (`ask_bid`); null for REST. One of buy, sell.';
COMMENT ON COLUMN raw.ticker_v1.acc_ask_volume IS 'Volume sold by takers since 00:00 UTC. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.acc_bid_volume IS 'Volume bought by takers since 00:00 UTC. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.highest_52_week_price IS 'Highest price in 52 weeks. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.highest_52_week_date IS 'Day of that highest price, yyyy-MM-dd. UTC.';
COMMENT ON COLUMN raw.ticker_v1.lowest_52_week_price IS 'Lowest price in 52 weeks. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.lowest_52_week_date IS 'Day of that lowest price, yyyy-MM-dd. UTC.';
COMMENT ON COLUMN raw.ticker_v1.market_state IS 'PREVIEW, ACTIVE or DELISTED; null for REST.';
COMMENT ON COLUMN raw.ticker_v1.is_trading_suspended IS 'Whether trading is suspended (the exchange deprecated it).';
COMMENT ON COLUMN raw.ticker_v1.delisting_date IS 'Day of delisting, yyyy-MM-dd; null while none is announced.';
COMMENT ON COLUMN raw.ticker_v1.market_warning IS 'NONE or CAUTION (the exchange deprecated it).';
COMMENT ON COLUMN raw.ticker_v1.stream_type IS 'SNAPSHOT: the state at the time of subscribing; REALTIME: a change. Null for REST. One of SNAPSHOT, REALTIME.';
COMMENT ON COLUMN raw.ticker_v1.best_ask_price IS 'Lowest ask; null where the exchange doesn''t say. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.best_ask_size IS 'Size at the lowest ask. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.best_bid_price IS 'Highest bid; null where the exchange doesn''t say. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.best_bid_size IS 'Size at the highest bid. Base currency.';
COMMENT ON COLUMN raw.ticker_v1.open_price_24h IS 'Price 24 hours ago; null where the exchange doesn''t say. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.high_price_24h IS 'Highest price of the last 24 hours. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.low_price_24h IS 'Lowest price of the last 24 hours. Quote currency.';
COMMENT ON COLUMN raw.ticker_v1.trade_volume_contracts IS 'trade_volume as the exchange counts it; null: coins. Contracts.';
COMMENT ON COLUMN raw.ticker_v1.best_ask_contracts IS 'best_ask_size as the exchange counts it; null: coins. Contracts.';
COMMENT ON COLUMN raw.ticker_v1.best_bid_contracts IS 'best_bid_size as the exchange counts it; null: coins. Contracts.';
COMMENT ON COLUMN raw.ticker_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.ticker_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.ticker_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.ticker_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.ticker_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.ticker_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.ticker_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.ticker_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.ticker_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.ticker_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.ticker_v1.item IS 'Place of the event within its frame or answer, from 0.';
