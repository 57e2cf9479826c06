-- How long what is kept, as data: change `keep` with UPDATE, and the next run of ops__retention__apply follows.

CREATE TABLE ops.retention (
    relation   text PRIMARY KEY,
    keep       interval,
    time       text NOT NULL,
    floor_at   timestamptz,
    applied_at timestamptz
);
COMMENT ON TABLE ops.retention IS 'How long each table is kept. What is older is dropped by ops__retention__apply once nothing that the lake can''t give back would be lost.';
COMMENT ON COLUMN ops.retention.keep IS 'How long by the column `time`, counted in whole UTC days; null: for ever.';
COMMENT ON COLUMN ops.retention.floor_at IS 'Everything before it is gone; null: nothing is. What would have to be made from it is refused, see ops.refusal.';

INSERT INTO ops.retention (relation, keep, time) VALUES
    ('raw.trade_v1', '7 days', 'received_at'),
    ('raw.ticker_v1', '7 days', 'received_at'),
    ('raw.orderbook_v1', '7 days', 'received_at'),
    ('raw.depth_v1', '7 days', 'received_at'),
    ('raw.candle_v1', '7 days', 'received_at'),
    ('raw.market_v1', '7 days', 'received_at'),
    ('raw.snapshot_v1', '7 days', 'received_at'),
    ('raw.system_v1', '7 days', 'received_at'),
    ('silver.trade', '90 days', 'event_at'),
    ('silver.ticker', '30 days', 'event_at'),
    ('silver.orderbook', '30 days', 'event_at'),
    ('silver.snapshot', '90 days', 'event_at'),
    ('silver.candle', NULL, 'event_at'),
    ('silver.market', NULL, 'event_at'),
    ('gold.ohlcv_1m', '30 days', 'bucket_at'),
    ('gold.ohlcv_5m', '180 days', 'bucket_at'),
    ('gold.ohlcv_15m', '180 days', 'bucket_at'),
    ('gold.ohlcv_1h', '1 year', 'bucket_at'),
    ('gold.ohlcv_4h', NULL, 'bucket_at'),
    ('gold.ohlcv_1d', NULL, 'bucket_at'),
    ('gold.market_summary_5m', '180 days', 'bucket_at'),
    ('gold.kimchi_premium_1m', '1 year', 'bucket_at'),
    ('gold.market_stats_24h', '1 year', 'bucket_at'),
    ('gold.market_correlation_1h', '1 year', 'bucket_at'),
    ('gold.technical_indicator_1h', '1 year', 'bucket_at');

CREATE TABLE ops.refusal (
    refusal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    consumer   text NOT NULL,
    exchange   text NOT NULL,
    market     text NOT NULL,
    from_at    timestamptz NOT NULL,
    to_at      timestamptz NOT NULL,
    reason     text NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refusal_time ON ops.refusal (refused_at);
COMMENT ON TABLE ops.refusal IS 'Late changes that a mart did not follow, because what it is made from has been dropped: its rows of [from_at, to_at) stand as they were.';

GRANT SELECT ON ops.retention, ops.refusal TO tidemark_loader, tidemark_dbt;
GRANT INSERT ON ops.refusal TO tidemark_dbt;

-- The loader applies the policy and owns nothing: these two check the policy themselves.
CREATE FUNCTION ops.drop_raw_partition(parent text, child text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    rule ops.retention;
BEGIN
    SELECT * INTO rule FROM ops.retention WHERE relation = 'raw.' || parent FOR UPDATE;
    IF rule.keep IS NULL OR (day + 1)::timestamp AT TIME ZONE 'UTC' > now() - rule.keep THEN
        RAISE EXCEPTION 'raw.% of % is kept: the policy says %', parent, day, coalesce(rule.keep::text, 'for ever');
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_inherits
        WHERE inhparent = to_regclass(format('raw.%I', parent)) AND inhrelid = to_regclass(format('raw.%I', child))
            AND pg_get_expr((SELECT relpartbound FROM pg_class WHERE oid = inhrelid), inhrelid)
                LIKE format('FOR VALUES FROM (''%s 00:00:00+00'')%%', day)
    ) THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE raw.%I', child);
    UPDATE ops.retention
    SET floor_at = greatest(floor_at, (day + 1)::timestamp AT TIME ZONE 'UTC'), applied_at = now()
    WHERE relation = 'raw.' || parent;
    RETURN true;
END
$$;
COMMENT ON FUNCTION ops.drop_raw_partition IS 'Drops the partition of one UTC day that the policy no longer keeps; false when there is none.';

CREATE FUNCTION ops.prune(pruned text, before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    rule  ops.retention;
    gone  bigint;
    layer text := split_part(pruned, '.', 1);
    name  text := split_part(pruned, '.', 2);
BEGIN
    SELECT * INTO rule FROM ops.retention WHERE relation = pruned FOR UPDATE;
    IF layer NOT IN ('silver', 'gold') OR rule.keep IS NULL OR before > now() - rule.keep THEN
        RAISE EXCEPTION '% before % is kept: the policy says %', pruned, before, coalesce(rule.keep::text, 'for ever');
    END IF;
    -- Alone among the builds of this table: they take the same lock.
    PERFORM pg_advisory_xact_lock(hashtextextended('tidemark.dbt:' || pruned, 0));
    EXECUTE format('DELETE FROM %I.%I WHERE %I < $1', layer, name, rule.time) USING before;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF layer = 'silver' THEN
        DELETE FROM silver.duplicate WHERE dataset = name AND event_at < before;
        DELETE FROM silver.superseded WHERE dataset = name AND event_at < before;
    END IF;
    UPDATE ops.retention SET floor_at = greatest(floor_at, before), applied_at = now() WHERE relation = pruned;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION ops.prune IS 'Deletes the rows of a table of silver or gold that the policy no longer keeps, and says from where on it is whole.';

CREATE FUNCTION ops.prune_builds(before timestamptz) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    IF before > now() - interval '30 days' THEN
        RAISE EXCEPTION 'builds of the last 30 days are kept';
    END IF;
    DELETE FROM ops.touched_bucket WHERE build_id IN (SELECT build_id FROM ops.build WHERE built_at < before);
    DELETE FROM ops.build_mark WHERE build_id IN (SELECT build_id FROM ops.build WHERE built_at < before);
    DELETE FROM ops.build WHERE built_at < before;
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN gone;
END
$$;
COMMENT ON FUNCTION ops.prune_builds IS 'Forgets changes of silver that every mart has long followed.';
REVOKE ALL ON FUNCTION ops.drop_raw_partition, ops.prune, ops.prune_builds FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ops.drop_raw_partition, ops.prune, ops.prune_builds TO tidemark_loader;
