-- Identity 4: trade counts and volumes of the one-minute bars add up to silver.trade, a market and day, in decimals.
-- Only trades of builds that the bars have taken count: a build between the two models is not lost, only later.
with

bound as (
    {{ newest_days(ref('ohlcv_1m')) }}
),

bars as (
    select
        exchange,
        market,
        {{ floor_to('1 day', 'bucket_at') }} as day_at,
        sum(trade_count) as trade_count,
        sum(volume_base) as volume_base,
        sum(volume_quote) as volume_quote
    from {{ ref('ohlcv_1m') }}
    where bucket_at >= (select from_at from bound)
    group by 1, 2, 3
),

trades as (
    select
        exchange,
        market,
        {{ floor_to('1 day', 'event_at') }} as day_at,
        count(*) as trade_count,
        sum(size) as volume_base,
        sum(price * size) as volume_quote
    from {{ ref('trade') }}
    where event_at >= (select from_at from bound)
    group by 1, 2, 3
),

untaken as (
    select distinct touched.exchange, touched.market, {{ floor_to('1 day', 'touched.bucket_at') }} as day_at
    from {{ source('ops', 'touched_bucket') }} as touched
    inner join {{ source('ops', 'build') }} as build on build.build_id = touched.build_id and build.dataset = 'trade'
    where not exists (
        select from {{ source('ops', 'build_mark') }} as mark
        where mark.build_id = build.build_id and mark.consumer = 'gold.ohlcv_1m'
    )
),

compared as (
    select
        exchange,
        market,
        day_at,
        (bars.trade_count, bars.volume_base, bars.volume_quote)
        is not distinct from (trades.trade_count, trades.volume_base, trades.volume_quote) as is_equal
    from bars
    full join trades using (exchange, market, day_at)
)

select *
from compared
where not is_equal
    and not exists (
        select from untaken
        where untaken.exchange = compared.exchange
            and untaken.market = compared.market
            and untaken.day_at = compared.day_at
    )
