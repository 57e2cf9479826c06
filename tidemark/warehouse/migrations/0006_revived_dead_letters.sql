-- Dead letters that a later parser could read: which offsets, and the load that brought their rows.

ALTER TABLE ops.load_ledger DROP CONSTRAINT load_ledger_kind_check;
ALTER TABLE ops.load_ledger ADD CONSTRAINT load_ledger_kind_check CHECK (kind IN ('data', 'gap', 'rest', 'revived'));

CREATE TABLE ops.revived (
    topic        text NOT NULL,
    cluster      text NOT NULL,
    epoch        bigint NOT NULL,
    partition    bigint NOT NULL,
    kafka_offset bigint NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('parsed', 'ignored')),
    reason       text NOT NULL,
    load_id      bigint NOT NULL REFERENCES ops.load_ledger (load_id),
    PRIMARY KEY (topic, cluster, epoch, partition, kafka_offset)
);
CREATE INDEX revived_load ON ops.revived (load_id);
COMMENT ON TABLE ops.revived IS 'Offsets that were dead letters and are none any more, each once, written in the transaction that copied their rows. Their chain object goes on counting them as dead: dead less revived is what is dead today.';
COMMENT ON COLUMN ops.revived.topic IS 'The topic in which the record lies (its rows may be of another dataset).';
COMMENT ON COLUMN ops.revived.outcome IS 'parsed: it has rows now; ignored: it carries nothing to keep by design.';
COMMENT ON COLUMN ops.revived.reason IS 'Why it was dead.';

GRANT SELECT ON ops.revived TO tidemark_loader, tidemark_dbt;
GRANT INSERT ON ops.revived TO tidemark_loader;
