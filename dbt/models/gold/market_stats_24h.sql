{%- set rules = {
    'upstream': ['silver.snapshot'],
    'bucket': '10 minutes',
    'look_back': '0',
    'scope': 'exchange',
    'inputs': ['silver.snapshot'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.market_stats_24h', rules) }}
),

latest as (
    select distinct on (snapshot.exchange, snapshot.market, {{ floor_to('10 minutes', 'snapshot.event_at') }})
        snapshot.*,
        {{ floor_to('10 minutes', 'snapshot.event_at') }} as bucket_at,
        split_part(snapshot.market, '-', 2) as quote
    from touched
    inner join {{ ref('snapshot') }} as snapshot
        on touched.exchange = snapshot.exchange
            and touched.from_at <= snapshot.event_at
            and touched.to_at > snapshot.event_at
    order by
        snapshot.exchange asc,
        snapshot.market asc,
        {{ floor_to('10 minutes', 'snapshot.event_at') }} asc,
        snapshot.event_at desc
),

-- Where an exchange states no turnover in money, its coins at the last price stand for it.
turned_over as (
    select
        *,
        coalesce(volume_quote_24h, volume_base_24h * last_price) as turnover
    from latest
),

stats as (
    select
        exchange,
        market,
        bucket_at,
        event_at as observed_at,
        stated_at,
        last_price,
        open_price,
        high_price,
        low_price,
        prices_since,
        {{ ratio('last_price - open_price', 'nullif(open_price, 0)', 8) }} as change,
        volume_base_24h,
        volume_quote_24h,
        trim_scale(round(turnover, 8)) as turnover_24h,
        case
            when turnover is not null
                then rank() over (partition by exchange, quote, bucket_at order by turnover desc nulls last)
        end as turnover_rank,
        {{ ratio(
            'turnover', 'nullif(sum(turnover) over (partition by exchange, quote, bucket_at), 0)', 6
        ) }} as turnover_share
    from turned_over
)

select * from stats
