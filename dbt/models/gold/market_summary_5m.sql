{%- set rules = {
    'upstream': ['gold.ohlcv_5m', 'silver.orderbook'],
    'bucket': '5 minutes',
    'look_back': '0',
    'inputs': ['gold.ohlcv_1m', 'gold.ohlcv_5m', 'silver.orderbook'],
} -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.market_summary_5m', rules) }}
),

bars as (
    select bar.*
    from touched
    inner join {{ ref('ohlcv_5m') }} as bar
        on touched.exchange = bar.exchange
            and touched.market = bar.market
            and touched.from_at <= bar.bucket_at
            and touched.to_at > bar.bucket_at
),

-- The root of the sum of squared one-minute log returns, the first of them from the bar's open.
moved as (
    select
        exchange,
        market,
        bucket_at,
        sqrt(sum(log_return * log_return)) as realized_volatility
    from (
        select
            bars.exchange,
            bars.market,
            bars.bucket_at,
            ln((
                minute.close / lag(minute.close, 1, bars.open) over (
                    partition by bars.exchange, bars.market, bars.bucket_at order by minute.bucket_at
                )
            )::double precision) as log_return
        from bars
        inner join {{ ref('ohlcv_1m') }} as minute
            on bars.exchange = minute.exchange
                and bars.market = minute.market
                and bars.bucket_at <= minute.bucket_at
                and minute.bucket_at < bars.bucket_at + interval '5 minutes'
    ) as minutes
    group by exchange, market, bucket_at
),

summaries as (
    select
        bars.exchange,
        bars.market,
        bars.bucket_at,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        {{ ratio('bars.close - bars.open', 'bars.open', 8) }} as return,
        {{ ratio('bars.high - bars.low', 'bars.low', 8) }} as range,
        bars.volume_base,
        bars.volume_quote,
        bars.vwap,
        bars.trade_count,
        {{ ratio('bars.buy_volume_base', 'bars.volume_base', 6) }} as buy_share,
        {{ rounded_digits('moved.realized_volatility') }} as realized_volatility,
        book.book_count,
        book.mean_spread_bps,
        book.mean_imbalance,
        book.last_mid_price
    from bars
    inner join moved
        on bars.exchange = moved.exchange and bars.market = moved.market and bars.bucket_at = moved.bucket_at
    cross join lateral (
        select
            count(*) as book_count,
            {{ mean('orderbook.spread * 10000 / orderbook.mid_price', 4) }} as mean_spread_bps,
            {{ mean('orderbook.imbalance', 6) }} as mean_imbalance,
            (max(array[extract(epoch from orderbook.event_at), orderbook.mid_price]))[2] as last_mid_price
        from {{ ref('orderbook') }} as orderbook
        where orderbook.exchange = bars.exchange
            and orderbook.market = bars.market
            and orderbook.event_at >= bars.bucket_at
            and orderbook.event_at < bars.bucket_at + interval '5 minutes'
            and orderbook.mid_price > 0
    ) as book
)

select * from summaries
