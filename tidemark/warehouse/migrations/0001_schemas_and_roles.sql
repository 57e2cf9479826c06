-- Schemas, and three roles that may do no more than they need. Roles belong to the whole server, so they may exist.

CREATE SCHEMA IF NOT EXISTS raw;
CREATE SCHEMA IF NOT EXISTS silver;
CREATE SCHEMA IF NOT EXISTS gold;
CREATE SCHEMA IF NOT EXISTS ops;
COMMENT ON SCHEMA raw IS 'What was received, row by row, append only.';
COMMENT ON SCHEMA silver IS 'One row an event: normalised, without duplicates, with an account of every row left out.';
COMMENT ON SCHEMA gold IS 'What people and programs query.';
COMMENT ON SCHEMA ops IS 'The books: what was loaded, built, reported, and whether it is complete.';

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['tidemark_loader', 'tidemark_dbt', 'tidemark_gold_ro'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', name);
        END IF;
        -- An administrator who is no superuser must be a member to set what the role's future tables grant.
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            EXECUTE format('GRANT %I TO %I', name, current_user);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), name);
    END LOOP;
    -- Hours are cut by the session's zone: every session of this database is in UTC.
    EXECUTE format('ALTER DATABASE %I SET timezone TO ''UTC''', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tidemark_loader, tidemark_dbt', current_database());
END
$$;

ALTER ROLE tidemark_gold_ro SET default_transaction_read_only TO on;
ALTER ROLE tidemark_gold_ro SET statement_timeout TO '30s';

-- The loader appends to raw, keeps the books in ops, and reads the rest to judge and report.
GRANT USAGE ON SCHEMA raw, silver, gold, ops TO tidemark_loader;
-- dbt reads raw and makes silver and gold; in ops it keeps the marks of what it has taken.
GRANT USAGE ON SCHEMA raw, ops TO tidemark_dbt;
GRANT USAGE, CREATE ON SCHEMA silver, gold TO tidemark_dbt;
-- Readers see gold and nothing else.
GRANT USAGE ON SCHEMA gold TO tidemark_gold_ro;

ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_dbt IN SCHEMA silver GRANT SELECT ON TABLES TO tidemark_loader;
ALTER DEFAULT PRIVILEGES FOR ROLE tidemark_dbt IN SCHEMA gold GRANT SELECT ON TABLES TO tidemark_loader, tidemark_gold_ro;
