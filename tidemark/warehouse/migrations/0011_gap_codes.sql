-- What came of asking for a gap, market by market: a market that the exchange refuses for good does not hold up the rest.

ALTER TABLE ops.gap ADD COLUMN answers integer NOT NULL DEFAULT 0;
UPDATE ops.gap SET answers = attempts;
COMMENT ON COLUMN ops.gap.attempts IS 'How many times it was asked for, answered or not; the pause until the next time doubles with each.';
COMMENT ON COLUMN ops.gap.answers IS 'How many times all its questions were answered.';

CREATE TABLE ops.gap_code (
    gap_id   bigint NOT NULL REFERENCES ops.gap (gap_id),
    code     text NOT NULL,
    state    text NOT NULL CHECK (state IN ('answered', 'refused', 'failed')),
    said     text NOT NULL DEFAULT '',
    until_at timestamptz NOT NULL,
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (gap_id, code)
);
COMMENT ON TABLE ops.gap_code IS 'What an exchange answered for one market of a gap (ops.gap has exchange, stream and range). Markets that were refused for good stay; those answered or failed are listed while the gap is open.';
COMMENT ON COLUMN ops.gap_code.code IS 'The exchange''s own code of the market.';
COMMENT ON COLUMN ops.gap_code.state IS 'answered: not asked for again while the others are; refused: the exchange knows no such market, never asked for again; failed: asked for again.';
COMMENT ON COLUMN ops.gap_code.said IS 'The exchange''s words, or what failed.';
COMMENT ON COLUMN ops.gap_code.until_at IS 'The end of the gap when it was asked for: an answer counts for that end only.';
COMMENT ON COLUMN ops.gap_code.asked_at IS 'When it was asked for.';

GRANT SELECT ON ops.gap_code TO tidemark_loader, tidemark_dbt;
GRANT INSERT, UPDATE, DELETE ON ops.gap_code TO tidemark_loader;
