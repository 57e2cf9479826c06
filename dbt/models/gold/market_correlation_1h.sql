{#- An hour's correlation is that of the week which ends with it: 168 returns, and the close before the first. -#}
{%- set look_back = '168 hours' -%}
{#- The planner takes the CTEs below for a few rows each, and would loop over them, or merge by some of the columns:
    a hundred times as long. -#}
{%- set plan = 'set local enable_nestloop to off; set local enable_mergejoin to off' -%}
{%- set week = "order by bucket_at range between interval '167 hours' preceding and current row" -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1h', 'silver.candle'],
    'bucket': '1 hour',
    'look_back': look_back,
    'scope': 'exchange',
    'inputs': ['gold.ohlcv_1h'],
} -%}

{{
    config(
        meta = rules,
        indexes = [
            {'columns': ['exchange', 'market', 'other_market', 'bucket_at'], 'unique': true},
            {'columns': ['exchange', 'other_market', 'bucket_at']},
            {'columns': ['exchange', 'bucket_at']},
        ],
        pre_hook = plan,
    )
}}

with

touched as (
    {{ touched_ranges('gold.market_correlation_1h', rules) }}
),

hours as (
    select
        touched.from_at,
        bar.exchange,
        bar.market,
        split_part(bar.market, '-', 2) as quote,
        bar.bucket_at,
        bar.volume_quote,
        case
            when lag(bar.bucket_at) over in_time = bar.bucket_at - interval '1 hour'
                then ln((bar.close / lag(bar.close) over in_time)::double precision)
        end as log_return
    from touched
    inner join {{ ref('history_1h') }} as bar
        on touched.exchange = bar.exchange
            and bar.bucket_at >= touched.from_at - interval '{{ look_back }}'
            and touched.to_at > bar.bucket_at
    window in_time as (partition by touched.from_at, bar.exchange, bar.market order by bar.bucket_at)
),

markets as (
    select distinct
        exchange,
        market
    from hours
),

assets as (
    {{ assets('markets') }}
),

-- All pairs of hundreds of markets would be tens of thousands of rows an hour: the busiest of each quote currency stand
-- for it, by what was traded in that week.
ranked as (
    select
        *,
        row_number() over (
            partition by from_at, exchange, quote, bucket_at order by week_volume_quote desc, market asc
        ) as place
    from (
        select
            *,
            sum(volume_quote) over (partition by from_at, exchange, market {{ week }}) as week_volume_quote
        from hours
    ) as summed
    where bucket_at >= from_at
),

pairs as (
    select
        one.from_at,
        one.exchange,
        one.market,
        other.market as other_market,
        one.bucket_at,
        asset.asset,
        other_asset.asset as other_asset,
        asset.instrument,
        other_asset.instrument as other_instrument
    from ranked as one
    inner join ranked as other
        on one.from_at = other.from_at
            and one.exchange = other.exchange
            and one.quote = other.quote
            and one.bucket_at = other.bucket_at
            and one.market < other.market
    inner join assets as asset
        on one.exchange = asset.exchange
            and one.market = asset.market
            and one.bucket_at >= asset.valid_from
            and one.bucket_at < asset.valid_to
    inner join assets as other_asset
        on other.exchange = other_asset.exchange
            and other.market = other_asset.market
            and other.bucket_at >= other_asset.valid_from
            and other.bucket_at < other_asset.valid_to
            -- A perpetual and the spot market of one coin move together by what they are.
            and asset.asset <> other_asset.asset
    where one.place <= {{ var('correlation_markets') }} and other.place <= {{ var('correlation_markets') }}
),

correlated as (
    select
        one.from_at,
        one.exchange,
        one.market,
        other.market as other_market,
        one.bucket_at,
        corr(one.log_return, other.log_return) over week as correlation,
        count(one.log_return + other.log_return) over week as returns
    from (
        select distinct
            from_at,
            exchange,
            market,
            other_market
        from pairs
    ) as pair
    inner join hours as one
        on pair.from_at = one.from_at and pair.exchange = one.exchange and pair.market = one.market
    inner join hours as other
        on pair.from_at = other.from_at
            and pair.exchange = other.exchange
            and pair.other_market = other.market
            and one.bucket_at = other.bucket_at
    window week as (
        partition by one.from_at, one.exchange, one.market, other.market
        {{ week | replace('bucket_at', 'one.bucket_at') }}
    )
),

correlations as (
    select
        correlated.exchange,
        correlated.market,
        correlated.other_market,
        correlated.bucket_at,
        {{ rounded_score('correlated.correlation') }} as correlation,
        correlated.returns,
        pairs.asset,
        pairs.other_asset,
        pairs.instrument,
        pairs.other_instrument
    from correlated
    inner join pairs
        on correlated.from_at = pairs.from_at
            and correlated.exchange = pairs.exchange
            and correlated.market = pairs.market
            and correlated.other_market = pairs.other_market
            and correlated.bucket_at = pairs.bucket_at
    where correlated.returns >= {{ var('correlation_min_returns') }}
        and correlated.correlation is not null
)

select * from correlations
