{%- set rules = {
    'upstream': ['silver.orderbook'],
    'bucket': '1 hour',
    'look_back': '0',
    'inputs': ['silver.orderbook'],
} -%}
{%- set means = [
    'best_ask_size', 'best_bid_size', 'ask_depth_5', 'bid_depth_5', 'ask_depth_10', 'bid_depth_10', 'total_ask_size',
    'total_bid_size',
] -%}

{{
    config(
        meta = rules,
        indexes = bar_indexes(),
    )
}}

with

touched as (
    {{ touched_ranges('gold.book_depth_1h', rules) }}
),

hours as (
    select
        touched.exchange,
        touched.market,
        hour.*
    from touched
    inner join lateral (
        select
            {{ floor_to('1 hour', 'book.event_at') }} as bucket_at,
            count(*) as book_count,
            {{ mean('book.mid_price', 12) }} as mean_mid_price,
            {{ mean('book.spread', 12) }} as mean_spread,
            {{ mean('book.spread * 10000 / nullif(book.mid_price, 0)', 4) }} as mean_spread_bps,
            {{ ratio('max(book.spread * 10000 / nullif(book.mid_price, 0))', '1', 4) }} as max_spread_bps,
            {%- for name in means %}
            {{ mean('book.' ~ name, 12) }} as mean_{{ name }},
            {%- endfor %}
            {{ mean('book.imbalance', 6) }} as mean_imbalance
        from {{ ref('orderbook') }} as book
        where book.exchange = touched.exchange
            and book.market = touched.market
            and book.event_at >= touched.from_at
            and book.event_at < touched.to_at
        group by {{ floor_to('1 hour', 'book.event_at') }}
    ) as hour on true
)

select * from hours
