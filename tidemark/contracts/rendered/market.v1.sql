CREATE TABLE IF NOT EXISTS raw.market_v1 (
    load_id           bigint NOT NULL,
    exchange          text,
    market            text,
    code              text,
    event_at          timestamptz,
    korean_name       text,
    english_name      text,
    warning           boolean,
    cautions          jsonb,
    instrument        text,
    state             text,
    contract_size     numeric,
    tick_size         numeric,
    base              text,
    quote             text,
    settle            text,
    underlying        text,
    underlying_kind   text,
    contract_value    numeric,
    contract_currency text,
    is_inverse        boolean,
    begins_at         timestamptz,
    expires_at        timestamptz,
    extra             jsonb,
    source            text NOT NULL,
    received_at       timestamptz NOT NULL,
    connection_id     text,
    frame_no          bigint,
    kafka_cluster     text NOT NULL,
    kafka_epoch       bigint NOT NULL,
    kafka_topic       text NOT NULL,
    kafka_partition   bigint NOT NULL,
    kafka_offset      bigint NOT NULL,
    item              bigint NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX IF NOT EXISTS market_v1_load_id ON raw.market_v1 USING brin (load_id);
COMMENT ON TABLE raw.market_v1 IS 'One listed market in one answer of the exchange. As it was received; never changed.';
COMMENT ON COLUMN raw.market_v1.load_id IS 'The load that brought it (ops.load_ledger).';
COMMENT ON COLUMN raw.market_v1.exchange IS 'Name of the exchange, lower case, such as upbit.';
COMMENT ON COLUMN raw.market_v1.market IS 'Canonical market symbol BASE-QUOTE, such as BTC-KRW.';
COMMENT ON COLUMN raw.market_v1.code IS 'The exchange''s own market code, such as KRW-BTC.';
COMMENT ON COLUMN raw.market_v1.event_at IS 'When the list was asked for, by our clock: the answer carries no time. UTC.';
COMMENT ON COLUMN raw.market_v1.korean_name IS 'Name of the coin in Korean.';
COMMENT ON COLUMN raw.market_v1.english_name IS 'Name of the coin in English.';
COMMENT ON COLUMN raw.market_v1.warning IS 'Whether the exchange has put the market under warning.';
COMMENT ON COLUMN raw.market_v1.cautions IS 'Which cautions are on, by the exchange''s own names.';
COMMENT ON COLUMN raw.market_v1.instrument IS 'What is traded; null: spot. One of spot, swap, future, option.';
COMMENT ON COLUMN raw.market_v1.state IS 'State of trading by the exchange''s own word; null where it doesn''t say.';
COMMENT ON COLUMN raw.market_v1.contract_size IS 'Coins in one contract; null where sizes are in coins. Base currency.';
COMMENT ON COLUMN raw.market_v1.tick_size IS 'Smallest step of the price; null where the exchange doesn''t say. Quote currency.';
COMMENT ON COLUMN raw.market_v1.base IS 'What is traded, by the exchange''s own name, such as BTC or 1000PEPE.';
COMMENT ON COLUMN raw.market_v1.quote IS 'Currency of the price.';
COMMENT ON COLUMN raw.market_v1.settle IS 'Currency in which gains are paid; null where the exchange doesn''t say.';
COMMENT ON COLUMN raw.market_v1.underlying IS 'What a derivative follows, by the exchange''s own name; null at spot.';
COMMENT ON COLUMN raw.market_v1.underlying_kind IS 'What `base` is; null where the exchange doesn''t say. One of coin, equity, commodity, fx, bond, index, premarket, other.';
COMMENT ON COLUMN raw.market_v1.contract_value IS 'Amount of contract_currency in one contract; null: sizes are in coins.';
COMMENT ON COLUMN raw.market_v1.contract_currency IS 'Currency of contract_value: the base, or dollars where it is inverse.';
COMMENT ON COLUMN raw.market_v1.is_inverse IS 'Whether a contract is an amount of the quote currency; null at spot.';
COMMENT ON COLUMN raw.market_v1.begins_at IS 'When trading begins or began; null where the exchange doesn''t say. UTC.';
COMMENT ON COLUMN raw.market_v1.expires_at IS 'When it expires or ends; null where it does not. UTC.';
COMMENT ON COLUMN raw.market_v1.extra IS 'Fields of the message that this contract doesn''t know, by the exchange''s own name.';
COMMENT ON COLUMN raw.market_v1.source IS 'How it reached us. One of ws, rest.';
COMMENT ON COLUMN raw.market_v1.received_at IS 'When it reached us, by our clock. UTC.';
COMMENT ON COLUMN raw.market_v1.connection_id IS 'The socket connection it came over; null for REST.';
COMMENT ON COLUMN raw.market_v1.frame_no IS 'Number of the frame within its connection, from 1; null for REST.';
COMMENT ON COLUMN raw.market_v1.kafka_cluster IS 'Cluster that held the record; ''rest'' for rows fetched by REST.';
COMMENT ON COLUMN raw.market_v1.kafka_epoch IS 'Raised when topics are made anew; 0 for REST.';
COMMENT ON COLUMN raw.market_v1.kafka_topic IS 'Topic of the record; for REST the topic of the dataset.';
COMMENT ON COLUMN raw.market_v1.kafka_partition IS 'Partition of the record; 0 for REST.';
COMMENT ON COLUMN raw.market_v1.kafka_offset IS 'Offset of the record; for REST 63 bits of the SHA-256 of request and content.';
COMMENT ON COLUMN raw.market_v1.item IS 'Place of the event within its frame or answer, from 0.';
