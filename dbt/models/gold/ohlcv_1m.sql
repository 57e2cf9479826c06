{%- set rules = {
    'upstream': ['silver.trade'],
    'bucket': '1 minute',
    'look_back': '0',
    'inputs': ['silver.trade'],
    'rehydrates': 'gold.ohlcv_1m',
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.ohlcv_1m', rules) }}
),

-- Open and close by (event_at, trade_id), kept as numeric: ids are larger than 2^53, a float would mix them up.
bars as (
    select
        touched.exchange,
        touched.market,
        bar.*
    from touched
    inner join lateral (
        select
            {{ floor_to('1 minute', 'event_at') }} as bucket_at,
            (min(array[extract(epoch from event_at), trade_id, price]))[3] as open,
            max(price) as high,
            min(price) as low,
            (max(array[extract(epoch from event_at), trade_id, price]))[3] as close,
            trim_scale(sum(size)) as volume_base,
            trim_scale(sum(price * size)) as volume_quote,
            {{ vwap('sum(price * size)', 'sum(size)') }} as vwap,
            count(*) as trade_count,
            trim_scale(coalesce(sum(size) filter (where side = 'buy'), 0)) as buy_volume_base,
            trim_scale(coalesce(sum(size) filter (where side = 'sell'), 0)) as sell_volume_base
        from {{ ref('trade') }} as trade
        where trade.exchange = touched.exchange
            and trade.market = touched.market
            and trade.event_at >= touched.from_at
            and trade.event_at < touched.to_at
        group by {{ floor_to('1 minute', 'event_at') }}
    ) as bar on true
)

select * from bars
