-- One definition of what is proven of an hour, for the digest, the home page, the summary, `tidemark validate` and gold.

CREATE VIEW ops.hour_state AS
WITH received AS NOT MATERIALIZED (
    SELECT DISTINCT ledger.exchange, ledger.dataset, bridge.hour_at, ledger.hour_at AS received_at
    FROM ops.load_hour AS bridge JOIN ops.load_ledger AS ledger USING (load_id)
),

judged AS (
    -- Identities 3 to 5 count by the hour of the event; 0 to 2 too where nothing of the hour was received.
    SELECT own.exchange, own.dataset, own.hour_at, own.identity, own.status
    FROM ops.completeness AS own
    WHERE own.identity >= 3 OR NOT EXISTS (
        SELECT FROM received
        WHERE received.exchange = own.exchange AND received.dataset = own.dataset AND received.hour_at = own.hour_at
    )
    UNION ALL
    -- Identities 0 to 2 count by the hours in which the rows of the hour were received; 0 knows no dataset.
    SELECT received.exchange, received.dataset, received.hour_at, there.identity, there.status
    FROM received
    JOIN ops.completeness AS there
        ON there.exchange = received.exchange AND there.hour_at = received.received_at AND there.identity < 3
        AND (there.dataset = received.dataset OR there.dataset = 'system' AND there.identity = 0)
    UNION ALL
    SELECT own.exchange, own.dataset, own.hour_at, socket.identity, socket.status
    FROM (SELECT DISTINCT exchange, dataset, hour_at FROM ops.completeness WHERE dataset <> 'system') AS own
    JOIN ops.completeness AS socket
        ON socket.exchange = own.exchange AND socket.hour_at = own.hour_at
        AND socket.dataset = 'system' AND socket.identity = 0
    WHERE NOT EXISTS (
        SELECT FROM received
        WHERE received.exchange = own.exchange AND received.dataset = own.dataset AND received.hour_at = own.hour_at
    )
),

counted AS (
    SELECT
        exchange, dataset, hour_at,
        coalesce(bool_or(status = 'red'), false) AS red,
        coalesce(bool_or(status = 'open'), false) AS open,
        count(*) FILTER (WHERE identity IN (3, 4)) AS rows_judged,
        count(*) FILTER (WHERE identity IN (3, 4) AND status = 'green') AS rows_green,
        count(*) FILTER (WHERE identity = 0 AND status = 'green') AS heard
    FROM judged
    GROUP BY exchange, dataset, hour_at
)

SELECT
    exchange, dataset, hour_at,
    CASE
        WHEN red THEN 'red'
        WHEN rows_green < CASE WHEN dataset = 'trade' THEN 2 ELSE 1 END AND NOT (
            -- Nothing happened, and the socket was heard; but what could not be read may have been anything.
            rows_judged = 0 AND heard > 0 AND NOT EXISTS (
                SELECT FROM ops.load_ledger AS ledger
                WHERE ledger.exchange = counted.exchange AND ledger.dataset = counted.dataset AND ledger.dead > 0
                    AND ledger.hour_at = counted.hour_at
            )
        ) THEN 'unchecked'
        WHEN open THEN 'provisional'
        ELSE 'green'
    END AS state
FROM counted;
COMMENT ON VIEW ops.hour_state IS 'What is proven of each exchange, dataset and event hour. Identities 0 to 2 count by the hours in which its rows were received.';
COMMENT ON COLUMN ops.hour_state.hour_at IS 'Start of the event hour. UTC.';
COMMENT ON COLUMN ops.hour_state.state IS 'green: proven; provisional: proven so far, a check waits for what is not loaded yet; unchecked: not known yet; red: a check is broken.';

GRANT SELECT ON ops.hour_state TO tidemark_loader, tidemark_dbt;
