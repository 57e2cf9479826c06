{#- The other exchange's price and the rate may be this old: what a coin costs elsewhere now, not some time ago. -#}
{%- set look_back = '5 minutes' -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1m'],
    'bucket': '1 minute',
    'look_back': look_back,
    'scope': 'everything',
    'inputs': ['gold.ohlcv_1m'],
} -%}

{{
    config(
        meta = rules,
        indexes = [
            {'columns': ['exchange', 'market', 'counter_exchange', 'bucket_at'], 'unique': true},
            {'columns': ['bucket_at']},
        ],
    )
}}

with

touched as (
    {{ touched_ranges('gold.kimchi_premium_1m', rules) }}
),

-- Every bar that can take part: prices in won, and prices in Tether.
bars as (
    select
        bar.exchange,
        bar.market,
        split_part(bar.market, '-', 1) as base,
        split_part(bar.market, '-', 2) as quote,
        bar.bucket_at,
        bar.close,
        touched.from_at
    from touched
    inner join {{ ref('ohlcv_1m') }} as bar
        on bar.bucket_at >= touched.from_at - interval '{{ look_back }}'
            and touched.to_at > bar.bucket_at
    where bar.market like '%-KRW' or bar.market like '%-USDT'
),

-- A close holds until the next, for at most the look-back: one row for each minute in which it does.
held as (
    select
        bars.from_at,
        bars.exchange,
        bars.market,
        bars.base,
        bars.quote,
        bars.close,
        bars.bucket_at as closed_at,
        minute.at as bucket_at
    from (
        select
            *,
            lead(bucket_at) over (partition by from_at, exchange, market order by bucket_at) as next_at
        from bars
    ) as bars
    cross join
        lateral generate_series(
            bars.bucket_at,
            least(bars.bucket_at + interval '{{ look_back }}', bars.next_at - interval '1 minute'),
            interval '1 minute'
        ) as minute (at)
    where bars.quote = 'USDT' or bars.market = 'USDT-KRW'
),

premiums as (
    select
        won.exchange,
        won.market,
        dollar.exchange as counter_exchange,
        dollar.market as counter_market,
        won.bucket_at,
        won.close as price,
        dollar.close as counter_price,
        rate.close as rate,
        trim_scale(round(dollar.close * rate.close, 8)) as counter_price_in_won,
        trim_scale(round(won.close / (dollar.close * rate.close) - 1, 8)) as premium,
        (extract(epoch from won.bucket_at - dollar.closed_at) / 60)::integer as counter_age_minutes,
        (extract(epoch from won.bucket_at - rate.closed_at) / 60)::integer as rate_age_minutes
    from bars as won
    inner join held as rate
        on won.from_at = rate.from_at
            and won.exchange = rate.exchange
            and rate.market = 'USDT-KRW'
            and won.bucket_at = rate.bucket_at
    inner join held as dollar
        on won.from_at = dollar.from_at
            and won.base = dollar.base
            and dollar.quote = 'USDT'
            and won.exchange <> dollar.exchange
            and won.bucket_at = dollar.bucket_at
    where won.quote = 'KRW' and won.base <> 'USDT' and won.bucket_at >= won.from_at
)

select * from premiums
