-- The books: what was loaded, what was consumed, what is complete. Everything here outlives retention.

CREATE TABLE ops.load_ledger (
    load_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path          text NOT NULL UNIQUE,
    kind          text NOT NULL CHECK (kind IN ('data', 'gap', 'rest')),
    exchange      text NOT NULL,
    dataset       text NOT NULL,
    topic         text NOT NULL,
    cluster       text NOT NULL,
    epoch         bigint NOT NULL,
    partition     bigint NOT NULL,
    start_offset  bigint NOT NULL,
    end_offset    bigint NOT NULL,
    rows          bigint NOT NULL,
    parsed        bigint NOT NULL,
    dead          bigint NOT NULL,
    ignored       bigint NOT NULL,
    dead_reasons  jsonb NOT NULL DEFAULT '{}',
    fingerprint   text NOT NULL DEFAULT '',
    received_min  timestamptz,
    received_max  timestamptz,
    hour_at       timestamptz NOT NULL,
    byte_size     bigint NOT NULL,
    checksum      text NOT NULL,
    version       text NOT NULL,
    loaded_at     timestamptz NOT NULL DEFAULT now(),
    retired_at    timestamptz
);
CREATE INDEX load_ledger_hour ON ops.load_ledger (exchange, dataset, hour_at);
CREATE INDEX load_ledger_dataset ON ops.load_ledger (dataset, load_id);
CREATE INDEX load_ledger_chain ON ops.load_ledger (topic, cluster, epoch, partition, start_offset);
COMMENT ON TABLE ops.load_ledger IS 'One row a landing object that is in raw, written in the transaction that copied its rows.';
COMMENT ON COLUMN ops.load_ledger.end_offset IS 'Last offset that the object accounts for, included.';
COMMENT ON COLUMN ops.load_ledger.hour_at IS 'Receive hour that the object belongs to (objects never span two).';
COMMENT ON COLUMN ops.load_ledger.checksum IS 'CRC32C of the object as loaded, base64.';
COMMENT ON COLUMN ops.load_ledger.version IS 'Version of the object as loaded; the store gives another to an object written anew.';
COMMENT ON COLUMN ops.load_ledger.retired_at IS 'When retention took the object out of landing; null while it must be there.';

CREATE TABLE ops.load_hour (
    load_id bigint NOT NULL REFERENCES ops.load_ledger (load_id),
    hour_at timestamptz NOT NULL,
    rows    bigint NOT NULL,
    PRIMARY KEY (load_id, hour_at)
);
CREATE INDEX load_hour_hour ON ops.load_hour (hour_at);
COMMENT ON TABLE ops.load_hour IS 'Event hours of the rows of each load: the bridge between receive hours and event hours. A row without a time of event counts to the hour of its receipt.';

CREATE TABLE ops.frame_ledger (
    load_id       bigint NOT NULL REFERENCES ops.load_ledger (load_id),
    connection_id text NOT NULL,
    hour_at       timestamptz NOT NULL,
    frame_count   bigint NOT NULL,
    frame_min     bigint NOT NULL,
    frame_max     bigint NOT NULL,
    frame_sum     numeric NOT NULL,
    PRIMARY KEY (load_id, connection_id, hour_at)
);
CREATE INDEX frame_ledger_connection ON ops.frame_ledger (connection_id);
CREATE INDEX frame_ledger_hour ON ops.frame_ledger (hour_at);
COMMENT ON TABLE ops.frame_ledger IS 'Frame numbers that one landing object accounts for, a connection and receive hour: count, least, greatest, sum.';

CREATE TABLE ops.load_mark (
    load_id   bigint NOT NULL REFERENCES ops.load_ledger (load_id),
    consumer  text NOT NULL,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    marked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, load_id)
);
COMMENT ON TABLE ops.load_mark IS 'Which loads a silver model has taken, set in the transaction that took them.';

CREATE TABLE ops.build (
    build_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset  text NOT NULL,
    built_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.build IS 'One change of one silver dataset that touched something.';

CREATE TABLE ops.touched_bucket (
    build_id  bigint NOT NULL REFERENCES ops.build (build_id),
    exchange  text NOT NULL,
    market    text NOT NULL,
    bucket_at timestamptz NOT NULL,
    PRIMARY KEY (build_id, exchange, market, bucket_at)
);
COMMENT ON TABLE ops.touched_bucket IS 'Minutes of event time that a build changed, in which gold must be made anew.';

CREATE TABLE ops.build_mark (
    build_id  bigint NOT NULL REFERENCES ops.build (build_id),
    consumer  text NOT NULL,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    marked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, build_id)
);
COMMENT ON TABLE ops.build_mark IS 'Which builds a gold model has taken, set in the transaction that took them.';

CREATE TABLE ops.watermark (
    topic        text NOT NULL,
    partition    bigint NOT NULL,
    cluster      text NOT NULL,
    epoch        bigint NOT NULL,
    hour_at      timestamptz NOT NULL,
    low_offset   bigint NOT NULL,
    high_offset  bigint NOT NULL,
    captured_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, cluster, epoch, hour_at)
);
COMMENT ON TABLE ops.watermark IS 'Where each partition stood at the end of a receive hour: high_offset is the first offset after it.';

CREATE TABLE ops.gap (
    gap_id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    exchange    text NOT NULL,
    stream      text NOT NULL,
    from_at     timestamptz NOT NULL,
    to_at       timestamptz,
    cause       text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    found_at    timestamptz NOT NULL DEFAULT now(),
    repaired_at timestamptz,
    repaired_rows bigint,
    UNIQUE (exchange, stream, from_at, cause)
);
COMMENT ON TABLE ops.gap IS 'Known holes: a stretch in which a stream was not heard, why, and whether it was repaired.';

CREATE TABLE ops.completeness (
    exchange   text NOT NULL,
    dataset    text NOT NULL,
    hour_at    timestamptz NOT NULL,
    identity   smallint NOT NULL CHECK (identity BETWEEN 0 AND 5),
    status     text NOT NULL CHECK (status IN ('green', 'red', 'open')),
    expected   numeric,
    actual     numeric,
    detail     jsonb NOT NULL DEFAULT '{}',
    checked_at timestamptz NOT NULL DEFAULT now(),
    sealed_at  timestamptz,
    PRIMARY KEY (exchange, dataset, hour_at, identity)
);
COMMENT ON TABLE ops.completeness IS 'Identities for each exchange, dataset and hour: 0 to 2 by receive hour, 3 to 5 by event hour. Red names the range in detail; open: the hour is not over, or something that was landed or loaded still waits to be taken.';

CREATE TABLE ops.report (
    report_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_date  date NOT NULL,
    language     text NOT NULL,
    origin       text NOT NULL CHECK (origin IN ('llm', 'deterministic')),
    reason       text NOT NULL DEFAULT '',
    facts        jsonb NOT NULL,
    text         text NOT NULL,
    blocks       jsonb NOT NULL,
    rendered_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (report_date, language)
);
COMMENT ON TABLE ops.report IS 'The daily report as rendered, with the facts it rests on; report_date is a KST date.';

CREATE TABLE ops.llm_run (
    run_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_date   date NOT NULL,
    language      text NOT NULL,
    model         text NOT NULL,
    prompt_hash   text NOT NULL,
    input_tokens  bigint,
    output_tokens bigint,
    outcome       text NOT NULL,
    detail        jsonb NOT NULL DEFAULT '{}',
    started_at    timestamptz NOT NULL DEFAULT now(),
    seconds       numeric
);
COMMENT ON TABLE ops.llm_run IS 'Every call of the language model: what it cost, and what the number gate said.';

CREATE TABLE ops.slack_outbox (
    key        text PRIMARY KEY,
    channel    text NOT NULL,
    payload    jsonb NOT NULL,
    state      text NOT NULL CHECK (state IN ('pending', 'sending', 'sent', 'unknown')),
    ts         text,
    attempts   integer NOT NULL DEFAULT 0,
    error      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.slack_outbox IS 'One row a message that must reach Slack exactly once; the key is its identity.';

-- A model finds what it has just marked by its own transaction.
CREATE INDEX load_mark_xid ON ops.load_mark (xid);
CREATE INDEX build_mark_xid ON ops.build_mark (xid);
