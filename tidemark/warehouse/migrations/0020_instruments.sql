-- What an exchange lists, kept with its history, and the data that corrects it: the sizes of contracts and the identity
-- of assets.

CREATE TABLE silver.instrument (
    exchange          text NOT NULL,
    code              text NOT NULL,
    market            text NOT NULL,
    valid_from        timestamptz NOT NULL,
    valid_to          timestamptz,
    instrument        text,
    base              text,
    quote             text,
    settle            text,
    underlying        text,
    underlying_kind   text,
    contract_value    numeric,
    contract_currency text,
    is_inverse        boolean,
    state             text,
    begins_at         timestamptz,
    expires_at        timestamptz,
    PRIMARY KEY (exchange, code, valid_from)
);
CREATE INDEX instrument_market ON silver.instrument (exchange, market);
COMMENT ON TABLE silver.instrument IS 'What each instrument was and when, by the exchange''s lists: one row whenever one of its columns changed. valid_from is the first list that said so (UTC), valid_to the list that said otherwise, null while it holds.';
COMMENT ON COLUMN silver.instrument.contract_value IS 'Amount of contract_currency in one contract: coins, or the quote currency where is_inverse. Null: sizes are in coins.';

CREATE TABLE ops.contract_size_override (
    exchange   text NOT NULL,
    code       text NOT NULL,
    valid_from timestamptz NOT NULL,
    size       numeric NOT NULL CHECK (size > 0),
    is_inverse boolean NOT NULL,
    PRIMARY KEY (exchange, code, valid_from)
);
COMMENT ON TABLE ops.contract_size_override IS 'Sizes of contracts that win over the exchange''s list, from valid_from (UTC) on. Written by tidemark migrate from the exchange''s file.';

-- The first size that the lists gave holds for all time before it, too: a trade whose size was unknown needs one.
CREATE VIEW silver.contract_size AS
SELECT
    exchange, code, contract_value AS size, is_inverse, false AS is_override, valid_from AS known_from,
    CASE WHEN place = 1 THEN timestamptz '-infinity' ELSE valid_from END AS from_at,
    coalesce(lead(valid_from) OVER (PARTITION BY exchange, code ORDER BY valid_from), timestamptz 'infinity') AS to_at
FROM (
    SELECT
        exchange, code, contract_value, coalesce(is_inverse, false) AS is_inverse, valid_from,
        row_number() OVER in_time AS place,
        row(contract_value, coalesce(is_inverse, false))
            IS DISTINCT FROM lag(row(contract_value, coalesce(is_inverse, false))) OVER in_time AS differs
    FROM silver.instrument
    WHERE contract_value > 0
    WINDOW in_time AS (PARTITION BY exchange, code ORDER BY valid_from)
) AS sizes
WHERE place = 1 OR differs
UNION ALL
SELECT
    exchange, code, size, is_inverse, true, valid_from, valid_from,
    coalesce(lead(valid_from) OVER (PARTITION BY exchange, code ORDER BY valid_from), timestamptz 'infinity')
FROM ops.contract_size_override;
COMMENT ON VIEW silver.contract_size IS 'What one contract of a code was from from_at up to to_at (UTC): an amount of coins, or of the quote currency where is_inverse. By the lists (known_from: since when they say so), and by overrides, which win.';

CREATE TABLE ops.asset_override (
    exchange   text NOT NULL,
    base       text NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to   timestamptz NOT NULL,
    asset      text NOT NULL,
    multiplier numeric NOT NULL CHECK (multiplier > 0),
    kind       text NOT NULL CHECK (kind IN ('coin', 'equity', 'commodity', 'fx', 'bond', 'index', 'premarket', 'other')),
    reason     text NOT NULL,
    PRIMARY KEY (exchange, base, valid_from)
);
COMMENT ON TABLE ops.asset_override IS 'Which asset a base is at an exchange where its letters do not say it, from valid_from up to valid_to (UTC; -infinity, infinity: always). Written by tidemark migrate from tidemark/warehouse/reference/asset_override.csv.';

GRANT SELECT ON ops.contract_size_override, ops.asset_override TO tidemark_loader, tidemark_dbt;
GRANT SELECT, INSERT, UPDATE, DELETE ON silver.instrument TO tidemark_dbt;
GRANT SELECT ON silver.instrument TO tidemark_loader;
GRANT SELECT ON silver.contract_size TO tidemark_loader, tidemark_dbt;

INSERT INTO ops.retention (relation, keep, time) VALUES ('gold.suspect_premium_1m', '1 year', 'bucket_at');
