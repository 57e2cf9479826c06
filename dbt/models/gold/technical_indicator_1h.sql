{#-
    Exponential means never end; here each ends after a fixed warm-up, so that a late hour changes a bounded stretch: 250
    hours, in which the slowest (Wilder's of 14) falls to 1e-8 of its weight, and 100 hours of MACD for its signal.
    349 hours back from an hour lie all bars that count for it, and one before the first for its change.
-#}
{%- set look_back = '350 hours' -%}
{%- set wilder = 1 - 1 / 14 -%}
{%- set fast = 1 - 2 / 13 -%}
{%- set slow = 1 - 2 / 27 -%}
{%- set signal = 1 - 2 / 10 -%}
{%- set rules = {
    'upstream': ['gold.ohlcv_1h', 'silver.candle'],
    'bucket': '1 hour',
    'look_back': look_back,
    'inputs': ['gold.ohlcv_1h'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.technical_indicator_1h', rules) }}
),

-- The weights of a mean grow with the number of the bar: in sixty days none leaves what a float can hold.
pieces as (
    select
        exchange,
        market,
        piece_at as from_at,
        least(piece_at + interval '60 days', to_at) as to_at
    from touched
    cross join lateral generate_series(from_at, to_at - interval '1 hour', interval '60 days') as piece (piece_at)
),

bars as (
    select
        pieces.exchange,
        pieces.market,
        pieces.from_at,
        bar.bucket_at,
        bar.close::double precision as close,
        bar.high::double precision as high,
        bar.low::double precision as low,
        lag(bar.close::double precision) over in_time as previous_close,
        row_number() over in_time as n,
        bar.is_ours
    from pieces
    inner join {{ ref('history_1h') }} as bar
        on pieces.exchange = bar.exchange
            and pieces.market = bar.market
            and bar.bucket_at >= pieces.from_at - interval '{{ look_back }}'
            and pieces.to_at > bar.bucket_at
    window in_time as (
        partition by pieces.exchange, pieces.market, pieces.from_at order by bar.bucket_at
    )
),

changes as (
    select
        *,
        greatest(close - previous_close, 0) as gain,
        greatest(previous_close - close, 0) as loss,
        greatest(high - low, abs(high - previous_close), abs(low - previous_close)) as true_range
    from bars
    where previous_close is not null
),

averaged as (
    select
        *,
        count(*) over warm_up as bars,
        {{ exponential_mean('gain', wilder, 'warm_up') }} as mean_gain,
        {{ exponential_mean('loss', wilder, 'warm_up') }} as mean_loss,
        {{ exponential_mean('true_range', wilder, 'warm_up') }} as atr,
        {{ exponential_mean('close', fast, 'warm_up') }} - {{ exponential_mean('close', slow, 'warm_up') }} as macd,
        count(*) over twenty_hours as band_bars,
        avg(close) over twenty_hours as band_middle,
        stddev_pop(close) over twenty_hours as band_spread
    from changes
    window
        warm_up as (
            partition by exchange, market, from_at
            order by bucket_at range between interval '249 hours' preceding and current row
        ),
        twenty_hours as (
            partition by exchange, market, from_at
            order by bucket_at range between interval '19 hours' preceding and current row
        )
),

signalled as (
    select
        *,
        {{ exponential_mean('macd', signal, 'hundred_hours') }} as macd_signal
    from averaged
    where bucket_at >= from_at - interval '99 hours'
    window hundred_hours as (
        partition by exchange, market, from_at
        order by bucket_at range between interval '99 hours' preceding and current row
    )
),

indicators as (
    select
        exchange,
        market,
        bucket_at,
        {{ rounded_digits('close') }} as close,
        case when bars >= 14 and mean_gain + mean_loss > 0
                then {{ rounded_digits('100 * mean_gain / (mean_gain + mean_loss)') }}
        end as rsi_14,
        case when band_bars >= 18 then {{ rounded_digits('band_middle') }} end as bollinger_middle,
        case when band_bars >= 18 then {{ rounded_digits('band_middle + 2 * band_spread') }} end as bollinger_upper,
        case when band_bars >= 18 then {{ rounded_digits('band_middle - 2 * band_spread') }} end as bollinger_lower,
        case when bars >= 26 then {{ rounded_digits('macd') }} end as macd,
        case when bars >= 35 then {{ rounded_digits('macd_signal') }} end as macd_signal,
        case when bars >= 35 then {{ rounded_digits('macd - macd_signal') }} end as macd_histogram,
        case when bars >= 14 then {{ rounded_digits('atr') }} end as atr_14,
        bars::integer as bars,
        is_ours
    from signalled
    where bucket_at >= from_at
)

select * from indicators
