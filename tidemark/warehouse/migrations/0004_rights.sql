-- Who may touch which book, and how raw gets a new day.

GRANT SELECT ON ALL TABLES IN SCHEMA ops TO tidemark_loader, tidemark_dbt;
GRANT INSERT ON ops.load_ledger, ops.frame_ledger, ops.load_hour TO tidemark_loader;
GRANT INSERT, UPDATE ON
    ops.watermark, ops.gap, ops.completeness, ops.report, ops.llm_run, ops.slack_outbox TO tidemark_loader;
-- DELETE: a relation that is made anew forgets what it had taken.
GRANT INSERT, UPDATE, DELETE ON ops.load_mark, ops.build, ops.touched_bucket, ops.build_mark TO tidemark_dbt;
GRANT SELECT, INSERT, UPDATE, DELETE ON silver.duplicate, silver.superseded, silver.quarantine TO tidemark_dbt;
GRANT SELECT ON silver.duplicate, silver.superseded, silver.quarantine TO tidemark_loader;

-- Only a table's owner can give it a partition. The loader shouldn't own raw (it could then delete), so it asks here.
CREATE FUNCTION ops.ensure_raw_partition(parent text, child text, day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    from_at text := day || ' 00:00:00+00';
    to_at   text := (day + 1) || ' 00:00:00+00';
    branch  regclass;
BEGIN
    IF to_regclass(format('raw.%I', child)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('raw.' || parent, 0));
    -- Read from the catalogue itself: to_regclass may go on saying what was true before the lock was waited for.
    IF EXISTS (
        SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = 'raw' AND c.relname = child
    ) THEN
        RETURN false;
    END IF;
    -- ATTACH lets readers and writers of the other days go on; CREATE TABLE … PARTITION OF would wait for them.
    EXECUTE format('CREATE TABLE raw.%I (LIKE raw.%I)', child, parent);
    EXECUTE format('ALTER TABLE raw.%I ATTACH PARTITION raw.%I FOR VALUES FROM (%L) TO (%L)', parent, child, from_at, to_at);
    FOR branch IN SELECT indexrelid FROM pg_index WHERE indrelid = format('raw.%I', child)::regclass LOOP
        EXECUTE format('ALTER INDEX %s SET (autosummarize = on)', branch);
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION ops.ensure_raw_partition IS 'Makes the partition of one UTC day unless it exists; true when this call made it.';
REVOKE ALL ON FUNCTION ops.ensure_raw_partition FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ops.ensure_raw_partition TO tidemark_loader;
