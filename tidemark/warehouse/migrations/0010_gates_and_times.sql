-- A quality gate for each dataset of an exchange, tickers without a last price, and rows whose time is implausible.

-- One dataset that looks wrong held back everything of its exchange.
ALTER TABLE ops.gate ADD COLUMN dataset text;
CREATE TEMPORARY TABLE closed ON COMMIT DROP AS SELECT exchange, reason, changed_at FROM ops.gate WHERE status = 'red';
DELETE FROM ops.gate;
ALTER TABLE ops.gate ALTER COLUMN dataset SET NOT NULL, DROP CONSTRAINT gate_pkey, ADD PRIMARY KEY (exchange, dataset);
INSERT INTO ops.gate (exchange, dataset, status, reason, changed_at)
SELECT run.exchange, run.dataset, 'red', closed.reason, closed.changed_at
FROM closed JOIN (
    SELECT DISTINCT ON (exchange, dataset) exchange, dataset, status FROM ops.quality_run ORDER BY exchange, dataset, run_id DESC
) AS run USING (exchange)
WHERE run.status = 'red';
COMMENT ON TABLE ops.gate IS
    'Datasets of an exchange whose changes gold may follow. While one is red the marts that read it take nothing of the exchange, and none is lost; no row: green.';

COMMENT ON TABLE ops.load_hour IS
    'Event hours of the rows of each load: the bridge between receive hours and event hours. A row without a plausible time of event counts to the hour of its receipt.';
COMMENT ON TABLE silver.quarantine IS
    'Raw rows that silver refuses, with the reason; hour_at is the event hour, or the receive hour where the event has no plausible time.';

-- Before the first trade of a market there is no last price.
DO $$
BEGIN
    IF to_regclass('silver.ticker') IS NOT NULL THEN
        ALTER TABLE silver.ticker ALTER COLUMN trade_price DROP NOT NULL;
    END IF;
END
$$;

-- What the rule of plausible times (tidemark/contracts/plausible.py) would have refused leaves silver, and gold follows.
-- Such rows were counted at the hour that they named; from now on they count at the hour of their receipt.
CREATE FUNCTION pg_temp.is_plausible(event_at timestamptz, received_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(event_at BETWEEN timestamptz '2017-01-01 00:00:00+00' AND received_at + interval '900 seconds', false)
$$;

CREATE TEMPORARY TABLE refused (
    LIKE silver.quarantine INCLUDING DEFAULTS, was_silver boolean NOT NULL
) ON COMMIT DROP;

DO $$
DECLARE
    name    text;
    keys    text := 'kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item';
    account text;
BEGIN
    FOREACH name IN ARRAY ARRAY['market', 'trade', 'ticker', 'orderbook', 'candle', 'snapshot'] LOOP
        CONTINUE WHEN to_regclass('silver.' || name) IS NULL;
        EXECUTE format(
            'WITH gone AS (DELETE FROM silver.%I WHERE NOT pg_temp.is_plausible(event_at, received_at) RETURNING *)
            INSERT INTO refused (exchange, dataset, market, event_at, hour_at, reason, payload, source, load_id,
                received_at, %s, was_silver)
            SELECT exchange, %L, market, event_at, date_trunc(''hour'', received_at), ''implausible_event_at'',
                to_jsonb(gone) - ''load_id'', source, load_id, received_at, %s, true FROM gone', name, keys, name, keys
        );
    END LOOP;
    FOREACH account IN ARRAY ARRAY['duplicate', 'superseded'] LOOP
        EXECUTE format(
            'WITH gone AS (DELETE FROM silver.%I WHERE NOT pg_temp.is_plausible(event_at, received_at) RETURNING *)
            INSERT INTO refused (exchange, dataset, market, event_at, hour_at, reason, payload, source, load_id,
                received_at, %s, was_silver)
            SELECT exchange, dataset, market, event_at, date_trunc(''hour'', received_at), ''implausible_event_at'',
                to_jsonb(gone) - ''load_id'', source, load_id, received_at, %s, false FROM gone', account, keys, keys
        );
    END LOOP;
END
$$;

INSERT INTO silver.quarantine (exchange, dataset, market, event_at, hour_at, reason, payload, source, load_id, received_at,
    kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item)
SELECT exchange, dataset, market, event_at, hour_at, reason, payload, source, load_id, received_at,
    kafka_cluster, kafka_epoch, kafka_topic, kafka_partition, kafka_offset, item
FROM refused;
UPDATE silver.quarantine SET hour_at = date_trunc('hour', received_at)
WHERE event_at IS NOT NULL AND NOT pg_temp.is_plausible(event_at, received_at);

WITH build AS (
    INSERT INTO ops.build (dataset, exchange) SELECT DISTINCT dataset, exchange FROM refused WHERE was_silver
    RETURNING build_id, dataset, exchange
)
INSERT INTO ops.touched_bucket (build_id, exchange, market, bucket_at, until_at)
SELECT DISTINCT build.build_id, build.exchange, refused.market, minute.at, minute.at + interval '1 minute'
FROM build JOIN refused USING (exchange, dataset)
CROSS JOIN LATERAL date_bin('1 minute', refused.event_at, timestamptz '2000-01-01 00:00:00+00') AS minute (at)
WHERE refused.was_silver;

CREATE TEMPORARY TABLE misplaced ON COMMIT DROP AS
SELECT bridge.load_id, bridge.hour_at, bridge.rows, date_trunc('hour', ledger.received_min) AS receipt_at
FROM ops.load_hour AS bridge JOIN ops.load_ledger AS ledger USING (load_id)
WHERE bridge.hour_at < timestamptz '2017-01-01 00:00:00+00' OR bridge.hour_at > ledger.received_max + interval '900 seconds';
DELETE FROM ops.load_hour AS bridge USING misplaced
WHERE bridge.load_id = misplaced.load_id AND bridge.hour_at = misplaced.hour_at;
INSERT INTO ops.load_hour AS bridge (load_id, hour_at, rows)
SELECT load_id, receipt_at, sum(rows) FROM misplaced GROUP BY load_id, receipt_at
ON CONFLICT (load_id, hour_at) DO UPDATE SET rows = bridge.rows + excluded.rows;
DELETE FROM ops.completeness
WHERE identity >= 3 AND (hour_at < timestamptz '2017-01-01 00:00:00+00' OR hour_at > now() + interval '1 hour');
