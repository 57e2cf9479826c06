{%- set quotes = ['KRW', 'USDT', 'USDC', 'BTC'] -%}
{%- set rules = {
    'upstream': ['silver.trade'],
    'bucket': '1 minute',
    'look_back': '0',
    'time': 'event_at',
    'inputs': ['silver.trade'],
} -%}

{{
    config(
        meta = rules,
        indexes = [
            {'columns': ['exchange', 'market', 'trade_id'], 'unique': true},
            {'columns': ['exchange', 'market', 'event_at']},
            {'columns': ['event_at']},
        ],
    )
}}

with

touched as (
    {{ touched_ranges('gold.large_trade', rules) }}
),

thresholds as (
    select *
    from (
        values
        {%- for quote in quotes %}
        ('{{ quote }}', {{ var('large_trade_' ~ quote | lower) }}::numeric){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed (quote, threshold)
),

watched as (
    select
        touched.*,
        thresholds.threshold
    from touched
    inner join thresholds on split_part(touched.market, '-', 2) = thresholds.quote
),

-- `materialized` keeps the planner at the index of each market: it takes the stretches for wider than they are, and
-- would read the whole table.
large as (
    select
        dealt.*,
        watched.threshold,
        {{ ratio('dealt.price * dealt.size', 'watched.threshold', 4) }} as times_threshold
    from watched
    inner join lateral (
        with within as materialized (
            select
                trade.exchange,
                trade.market,
                trade.trade_id,
                trade.event_at,
                trade.side,
                trade.price,
                trade.size,
                trim_scale(trade.price * trade.size) as value_quote
            from {{ ref('trade') }} as trade
            where trade.exchange = watched.exchange
                and trade.market = watched.market
                and trade.event_at >= watched.from_at
                and trade.event_at < watched.to_at
                and trade.price * trade.size >= watched.threshold
        )

        select * from within
    ) as dealt on true
)

select * from large
