-- A gap is a stretch of one stream that may lack rows: found, asked for at the exchange, settled.

ALTER TABLE ops.gap
    ADD COLUMN dataset  text GENERATED ALWAYS AS (split_part(stream, '/', 1)) STORED,
    ADD COLUMN market   text,
    ADD COLUMN state    text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'repaired', 'nothing_missing', 'not_served')),
    ADD COLUMN said     text NOT NULL DEFAULT '',
    ADD COLUMN attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN asked_at timestamptz;
UPDATE ops.gap SET state = 'repaired' WHERE repaired_at IS NOT NULL;
CREATE INDEX gap_unsettled ON ops.gap (exchange, state) WHERE state <> 'repaired';
CREATE INDEX gap_time ON ops.gap (exchange, from_at);
COMMENT ON TABLE ops.gap IS 'One row a gap: a stretch of one stream that may lack rows, why, and what came of asking the exchange for it.';
COMMENT ON COLUMN ops.gap.stream IS 'The dataset, and which part of it: a market, an interval, a partition, or a hash of several codes (detail names them).';
COMMENT ON COLUMN ops.gap.market IS 'Canonical market; null where the gap is about several, or all that a connection carries.';
COMMENT ON COLUMN ops.gap.to_at IS 'Null while the stream has not been heard again.';
COMMENT ON COLUMN ops.gap.cause IS 'disconnected, silent, killed (no record of the end), frames lost, log trimmed, object deleted, sequence (ids or bars), witness (the exchange''s own candles), asked (by hand).';
COMMENT ON COLUMN ops.gap.state IS 'open: to be asked for; repaired: rows came; nothing_missing: asked, and everything was there; not_served: the exchange does not have it any more, said tells why.';
COMMENT ON COLUMN ops.gap.said IS 'In plain words what came of asking.';
COMMENT ON COLUMN ops.gap.repaired_at IS 'When it was settled with nothing missing any more.';
COMMENT ON COLUMN ops.gap.repaired_rows IS 'Rows that asking brought and that were not there before.';

CREATE TABLE ops.gap_repair (
    gap_id   bigint NOT NULL REFERENCES ops.gap (gap_id),
    path     text NOT NULL,
    rows     bigint NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (gap_id, path)
);
COMMENT ON TABLE ops.gap_repair IS 'Which landing objects (fetched by REST) answered for a gap; ops.load_ledger has their load by path.';
COMMENT ON COLUMN ops.gap_repair.rows IS 'Rows of the object, those included that were there before.';

CREATE TABLE ops.backfill_chunk (
    exchange text NOT NULL,
    dataset  text NOT NULL,
    code     text NOT NULL,
    interval text NOT NULL DEFAULT '',
    from_at  timestamptz NOT NULL,
    to_at    timestamptz NOT NULL,
    rows     bigint NOT NULL,
    said     text NOT NULL DEFAULT '',
    done_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (exchange, dataset, code, interval, from_at, to_at)
);
COMMENT ON TABLE ops.backfill_chunk IS 'Stretches of history that were asked for and are loaded: a backfill that is run again skips them.';
COMMENT ON COLUMN ops.backfill_chunk.said IS 'Empty, or why the exchange does not serve it.';

GRANT SELECT ON ops.gap_repair, ops.backfill_chunk TO tidemark_loader, tidemark_dbt;
GRANT INSERT, UPDATE ON ops.gap_repair, ops.backfill_chunk TO tidemark_loader;
