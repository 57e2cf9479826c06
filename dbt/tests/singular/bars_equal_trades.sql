-- Identity 4: counts and volumes of the one-minute bars add up to silver.trade, a market and day, in decimals.
-- Days with trades that the bars have not taken yet are left out: a build between the two models is only later.
with

bound as (
    {{ newest_days(ref('ohlcv_1m')) }}
),

untaken as (
    select
        touched.exchange,
        touched.market,
        touched.bucket_at,
        touched.until_at
    from {{ source('ops', 'touched_bucket') }} as touched
    inner join {{ source('ops', 'build') }} as build on touched.build_id = build.build_id
    where build.dataset = 'trade'
        and not exists (
            select 1
            from {{ source('ops', 'build_mark') }} as mark
            where mark.build_id = build.build_id and mark.consumer = 'gold.ohlcv_1m'
        )
),

-- A bar counts for, its trades against it: whatever doesn't add up to 0 is wrong.
sides as (
    select
        exchange,
        market,
        {{ floor_to('1 day', 'bucket_at') }} as day_at,
        trade_count,
        volume_base,
        volume_quote
    from {{ ref('ohlcv_1m') }}
    where bucket_at >= (select bound.from_at from bound)
    union all
    select
        exchange,
        market,
        {{ floor_to('1 day', 'event_at') }} as day_at,
        -1 as trade_count,
        -size as volume_base,
        -price * size as volume_quote
    from {{ ref('trade') }}
    where event_at >= (select bound.from_at from bound)
),

surplus as (
    select
        exchange,
        market,
        day_at,
        sum(trade_count) as trade_count,
        sum(volume_base) as volume_base,
        sum(volume_quote) as volume_quote
    from sides
    group by exchange, market, day_at
)

select *
from surplus
where (trade_count <> 0 or volume_base <> 0 or volume_quote <> 0)
    and not exists (
        select 1
        from untaken
        where untaken.exchange = surplus.exchange
            and untaken.market = surplus.market
            and untaken.bucket_at < surplus.day_at + interval '1 day'
            and untaken.until_at > surplus.day_at
    )
