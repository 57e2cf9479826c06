{%- set datasets = ['trade', 'ticker', 'orderbook'] -%}
{%- set rules = {
    'upstream': ['silver.trade', 'silver.ticker', 'silver.orderbook'],
    'bucket': '1 hour',
    'look_back': '0',
    'scope': 'exchange',
    'inputs': ['silver.trade', 'silver.ticker', 'silver.orderbook'],
} -%}

{{
    config(
        meta = rules,
        indexes = [
            {'columns': ['exchange', 'dataset', 'bucket_at'], 'unique': true},
            {'columns': ['bucket_at']},
        ],
    )
}}

with

touched as (
    {{ touched_ranges('gold.receipt_latency_1h', rules) }}
),

-- Market by market: silver has an index of the times of one market, none of the times of an exchange. `materialized`
-- keeps the planner at it.
messages as (
    {%- for dataset in datasets %}
    select
        touched.exchange,
        '{{ dataset }}' as dataset,
        message.bucket_at,
        message.latency_ms
    from touched
    inner join ({{ series_of(ref(dataset)) }}) as series on touched.exchange = series.exchange
    inner join lateral (
        with within as materialized (
            select
                {{ floor_to('1 hour', 'event.event_at') }} as bucket_at,
                trim_scale(extract(epoch from event.received_at - event.event_at) * 1000) as latency_ms
            from {{ ref(dataset) }} as event
            where event.exchange = series.exchange
                and event.market = series.market
                and event.event_at >= touched.from_at
                and event.event_at < touched.to_at
                and event.source = 'ws'
        )

        select * from within
    ) as message on true
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

hours as (
    select
        exchange,
        dataset,
        bucket_at,
        count(*) as message_count,
        min(latency_ms) as min_ms,
        percentile_disc(array[0.5, 0.9, 0.99]) within group (order by latency_ms) as percentiles,
        max(latency_ms) as max_ms
    from messages
    group by exchange, dataset, bucket_at
)

select
    exchange,
    dataset,
    bucket_at,
    message_count,
    min_ms,
    percentiles[1] as p50_ms,
    percentiles[2] as p90_ms,
    percentiles[3] as p99_ms,
    max_ms
from hours
