-- The last cumulative volume of a market's day is the volume of all its minutes.
with

bound as (
    {{ newest_days(ref('ohlcv_1m')) }}
),

days as (
    select
        exchange,
        market,
        {{ floor_to('1 day', 'bucket_at') }} as day_at,
        sum(volume_base) as volume_base,
        sum(volume_quote) as volume_quote,
        max(cumulative_volume_base) as cumulative_volume_base,
        max(cumulative_volume_quote) as cumulative_volume_quote
    from {{ ref('cumulative_volume_1m') }}
    where bucket_at >= (select bound.from_at from bound)
    group by exchange, market, {{ floor_to('1 day', 'bucket_at') }}
)

select * from days
where volume_base <> cumulative_volume_base or volume_quote <> cumulative_volume_quote
