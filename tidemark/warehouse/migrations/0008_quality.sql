-- The gate between raw and silver: what was expected of the rows of each check, and which exchanges may go on to gold.

CREATE TABLE ops.quality_run (
    run_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange   text NOT NULL,
    dataset    text NOT NULL,
    status     text NOT NULL CHECK (status IN ('green', 'red')),
    loads      bigint NOT NULL,
    rows       bigint NOT NULL,
    from_at    timestamptz,
    to_at      timestamptz,
    checked_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX quality_run_latest ON ops.quality_run (exchange, dataset, run_id);
COMMENT ON TABLE ops.quality_run IS 'One row a check of what was loaded of one dataset of one exchange since the check before; each load is checked once.';
COMMENT ON COLUMN ops.quality_run.from_at IS 'First receipt among the rows checked.';

CREATE TABLE ops.quality (
    run_id      bigint NOT NULL REFERENCES ops.quality_run (run_id) ON DELETE CASCADE,
    place       integer NOT NULL,
    expectation text NOT NULL,
    about       text NOT NULL,
    severity    text NOT NULL CHECK (severity IN ('critical', 'warning')),
    success     boolean NOT NULL,
    expected    jsonb NOT NULL,
    observed    jsonb NOT NULL,
    PRIMARY KEY (run_id, place)
);
COMMENT ON TABLE ops.quality IS 'What a check expected and what it found, an expectation a row.';

CREATE TABLE ops.quality_load (
    load_id bigint PRIMARY KEY REFERENCES ops.load_ledger (load_id),
    run_id  bigint NOT NULL REFERENCES ops.quality_run (run_id)
);
COMMENT ON TABLE ops.quality_load IS 'Which check looked at a load.';

CREATE TABLE ops.gate (
    exchange   text PRIMARY KEY,
    status     text NOT NULL CHECK (status IN ('green', 'red')),
    reason     text NOT NULL DEFAULT '',
    changed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.gate IS 'Exchanges whose changes gold may follow. While one is red its changes wait, and none is lost; no row: green.';

-- Changes of silver are told apart by exchange, so that those of one can wait.
ALTER TABLE ops.build ADD COLUMN exchange text;
COMMENT ON COLUMN ops.build.exchange IS 'Null: of several exchanges, before they were told apart.';

GRANT SELECT ON ops.quality_run, ops.quality, ops.quality_load, ops.gate TO tidemark_loader, tidemark_dbt;
GRANT INSERT ON ops.quality_run, ops.quality, ops.quality_load TO tidemark_loader;
GRANT INSERT, UPDATE ON ops.gate TO tidemark_loader;
