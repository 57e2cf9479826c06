-- Every layer of bars adds up to the layer below, a market and day, in decimals.
-- (Layers that have taken different builds differ until the next run: those days are left out.)
with

bound as (
    {{ newest_days(ref('ohlcv_1m')) }}
),

layers as (
    {% for bars in [ref('ohlcv_1m'), ref('ohlcv_5m'), ref('ohlcv_15m'), ref('ohlcv_1h'), ref('ohlcv_4h'), ref('ohlcv_1d')] %}
    select
        exchange,
        market,
        {{ floor_to('1 day', 'bucket_at') }} as day_at,
        '{{ bars.identifier }}' as layer,
        sum(trade_count) as trade_count,
        sum(volume_base) as volume_base,
        sum(volume_quote) as volume_quote,
        sum(buy_volume_base) as buy_volume_base,
        max(high) as high,
        min(low) as low
    from {{ bars }}
    where bucket_at >= (select from_at from bound)
    group by 1, 2, 3
    {{ 'union all' if not loop.last }}
    {% endfor %}
),

lagging_builds as (
    select build_id
    from {{ source('ops', 'build_mark') }}
    where consumer like 'gold.ohlcv\_%'
    group by build_id
    having count(*) < 6
),

lagging as (
    select distinct touched.exchange, touched.market, {{ floor_to('1 day', 'touched.bucket_at') }} as day_at
    from {{ source('ops', 'touched_bucket') }} as touched
    inner join lagging_builds on lagging_builds.build_id = touched.build_id
)

select exchange, market, day_at
from layers
where not exists (
    select from lagging
    where lagging.exchange = layers.exchange and lagging.market = layers.market and lagging.day_at = layers.day_at
)
group by exchange, market, day_at
having count(*) <> 6
    or count(distinct (trade_count, volume_base, volume_quote, buy_volume_base, high, low)) <> 1
