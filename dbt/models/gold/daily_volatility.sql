{#- A day is held against the thirty days before it. -#}
{%- set look_back = '30 days' -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1d', 'silver.candle'],
    'bucket': '1 day',
    'look_back': look_back,
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.daily_volatility', rules) }}
),

-- Parkinson's estimate: what the range of a day says of its volatility.
observed as (
    select
        touched.exchange,
        touched.market,
        touched.from_at,
        day.bucket_at,
        day.open,
        day.high,
        day.low,
        day.close,
        day.is_ours,
        ln((day.high / day.low)::double precision) / (2 * sqrt(ln(2::double precision))) as volatility
    from touched
    inner join {{ ref('history_1d') }} as day
        on touched.exchange = day.exchange
            and touched.market = day.market
            and day.bucket_at >= touched.from_at - interval '{{ look_back }}'
            and touched.to_at > day.bucket_at
),

held_against as (
    select
        *,
        count(*) over history as history_days,
        avg(volatility) over history as mean,
        stddev_samp(volatility) over history as spread,
        array_agg(volatility) over history as sample
    from observed
    window history as (
        partition by exchange, market, from_at
        order by bucket_at range between interval '{{ look_back }}' preceding and interval '1 day' preceding
    )
),

scored as (
    select
        *,
        case
            when history_days >= {{ var('daily_volatility_min_days') }} and spread > 0
                then {{ rounded_score('(volatility - mean) / spread') }}
        end as z,
        case
            when history_days >= {{ var('daily_volatility_min_days') }}
                then round(100.0 * (
                        select count(*)
                        from unnest(sample) as before
                        where before < volatility
                    ) / history_days, 1)
        end as percentile
    from held_against
    where bucket_at >= from_at
),

days as (
    select
        exchange,
        market,
        bucket_at,
        open,
        high,
        low,
        close,
        {{ ratio('close - open', 'open', 8) }} as return,
        {{ rounded_digits('volatility') }} as volatility,
        z,
        trim_scale(percentile) as percentile,
        case
            when z is null then null
            when z >= {{ var('daily_volatility_extreme_z') }} then 'extreme'
            when z >= {{ var('daily_volatility_elevated_z') }} then 'elevated'
            when z <= -{{ var('daily_volatility_elevated_z') }} then 'calm'
            else 'normal'
        end as level,
        history_days,
        is_ours
    from scored
)

select * from days
