-- Every layer of bars adds up to the layer below it, a market and day, in decimals.
-- Days of which not all layers have taken the same builds are left out: they agree after the next run.
with

bound as (
    {{ newest_days(ref('ohlcv_1m')) }}
),

layers as (
    {% for width in ['1m', '5m', '15m', '1h', '4h', '1d'] %}
    select
        exchange,
        market,
        {{ floor_to('1 day', 'bucket_at') }} as day_at,
        '{{ width }}' as width,
        sum(trade_count) as trade_count,
        sum(volume_base) as volume_base,
        sum(volume_quote) as volume_quote,
        sum(buy_volume_base) as buy_volume_base,
        max(high) as high,
        min(low) as low
    from {{ ref('ohlcv_' ~ width) }}
    where bucket_at >= (select bound.from_at from bound)
    group by exchange, market, {{ floor_to('1 day', 'bucket_at') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

lagging_builds as (
    select build_id
    from {{ source('ops', 'build_mark') }}
    where consumer in (
            'gold.ohlcv_1m', 'gold.ohlcv_5m', 'gold.ohlcv_15m', 'gold.ohlcv_1h', 'gold.ohlcv_4h', 'gold.ohlcv_1d'
        )
    group by build_id
    having count(*) < 6
),

lagging as (
    select
        touched.exchange,
        touched.market,
        touched.bucket_at,
        touched.until_at
    from {{ source('ops', 'touched_bucket') }} as touched
    inner join lagging_builds on touched.build_id = lagging_builds.build_id
)

select
    exchange,
    market,
    day_at
from layers
where
    not exists (
        select 1
        from lagging
        where lagging.exchange = layers.exchange
            and lagging.market = layers.market
            and lagging.bucket_at < layers.day_at + interval '1 day'
            and lagging.until_at > layers.day_at
    )
group by exchange, market, day_at
having count(*) <> 6
    or min(trade_count) <> max(trade_count)
    or min(volume_base) <> max(volume_base)
    or min(volume_quote) <> max(volume_quote)
    or min(buy_volume_base) <> max(buy_volume_base)
    or min(high) <> max(high)
    or min(low) <> max(low)
