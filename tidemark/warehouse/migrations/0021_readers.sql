-- People on call get a role that reads everything and changes nothing, and no reader can hold up the platform for long.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tidemark_ops_ro') THEN
        CREATE ROLE tidemark_ops_ro LOGIN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO tidemark_ops_ro', current_database());
    -- Who waits for whom (pg_stat_activity of other roles). Not every administrator may grant it, and without it the
    -- role still reads all tables.
    BEGIN
        GRANT pg_read_all_stats TO tidemark_ops_ro;
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;
    END;
END
$$;
GRANT USAGE ON SCHEMA raw, silver, gold, ops TO tidemark_ops_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA raw, silver, gold, ops TO tidemark_ops_ro;
ALTER DEFAULT PRIVILEGES IN SCHEMA raw, silver, ops GRANT SELECT ON TABLES TO tidemark_ops_ro;
ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_dbt IN SCHEMA silver, gold GRANT SELECT ON TABLES TO tidemark_ops_ro;

-- A name without a schema is found where each role looks first.
ALTER ROLE tidemark_ops_ro SET search_path TO ops, gold, silver, raw;
ALTER ROLE tidemark_gold_ro SET search_path TO gold;

ALTER ROLE tidemark_ops_ro SET default_transaction_read_only TO on;
ALTER ROLE tidemark_ops_ro SET statement_timeout TO '2min';

-- A client that leaves a transaction open holds what it has read: whoever changes that definition waits for it.
ALTER ROLE tidemark_gold_ro SET idle_in_transaction_session_timeout TO '1min';
ALTER ROLE tidemark_ops_ro SET idle_in_transaction_session_timeout TO '1min';

-- Airflow's own time-out (30 minutes) can't end a statement that dbt waits for; the server can. By hand:
-- PGOPTIONS='-c statement_timeout=0'.
ALTER ROLE tidemark_dbt SET statement_timeout TO '25min';
ALTER ROLE tidemark_dbt SET idle_in_transaction_session_timeout TO '30min';

DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        ALTER ROLE tidemark_gold_ro SET transaction_timeout TO '5min';
        ALTER ROLE tidemark_ops_ro SET transaction_timeout TO '10min';
    END IF;
END
$$;

INSERT INTO ops.retention (relation, keep, time) VALUES
    ('gold.ohlcv_1d_kst', NULL, 'bucket_at'),
    ('gold.book_depth_1h', '1 year', 'bucket_at'),
    ('gold.receipt_latency_1h', '1 year', 'bucket_at');
