{%- set natural_key = ['exchange', 'market', 'event_at', 'content_hash'] -%}
{%- set content = [
    'total_ask_size', 'total_bid_size', 'ask_prices', 'ask_sizes', 'bid_prices', 'bid_sizes', 'level', 'extra',
] -%}
{%- set columns = [
    'exchange', 'market', 'code', 'event_at',
    'best_ask_price', 'best_ask_size', 'best_bid_price', 'best_bid_size',
    'spread', 'mid_price', 'weighted_mid_price',
    'total_ask_size', 'total_bid_size', 'imbalance', 'ask_levels', 'bid_levels',
    'ask_depth_5', 'bid_depth_5', 'ask_depth_10', 'bid_depth_10',
    'level', 'stream_type', 'update_id', 'extra',
] + contract_envelope() + ['content_hash'] -%}

{{
    config(
        meta = {'natural_key': natural_key, 'content': [], 'markets': 'silver.market'},
        indexes = [{'columns': natural_key, 'unique': true}],
    )
}}

with

arrived as (
    {{ arrived(source('raw', 'orderbook_v1'), 'orderbook', ref('market')) }}
),

topped as (
    select
        *,
        ask_prices[1] as best_ask_price,
        ask_sizes[1] as best_ask_size,
        bid_prices[1] as best_bid_price,
        bid_sizes[1] as best_bid_size,
        {{ book_depths('ask_sizes') }} as ask_depths,
        {{ book_depths('bid_sizes') }} as bid_depths,
        {{ content_hash(content) }} as content_hash,
        {{ violation('orderbook', ref('market')) }} as violation
    from arrived
),

-- The levels stay in raw and in the lake; silver keeps the top of the book and what its depth adds up to.
measured as (
    select
        exchange,
        market,
        code,
        event_at,
        trim_scale(best_ask_price) as best_ask_price,
        trim_scale(best_ask_size) as best_ask_size,
        trim_scale(best_bid_price) as best_bid_price,
        trim_scale(best_bid_size) as best_bid_size,
        trim_scale(best_ask_price - best_bid_price) as spread,
        trim_scale((best_ask_price + best_bid_price) * 0.5) as mid_price,
        {{ ratio(
            'best_bid_price * best_ask_size + best_ask_price * best_bid_size', 'nullif(best_ask_size + best_bid_size, 0)', 12
        ) }} as weighted_mid_price,
        trim_scale(total_ask_size) as total_ask_size,
        trim_scale(total_bid_size) as total_bid_size,
        {{ ratio('total_bid_size - total_ask_size', 'nullif(total_bid_size + total_ask_size, 0)', 6) }} as imbalance,
        cardinality(ask_prices) as ask_levels,
        cardinality(bid_prices) as bid_levels,
        trim_scale(ask_depths[1]) as ask_depth_5,
        trim_scale(bid_depths[1]) as bid_depth_5,
        trim_scale(ask_depths[2]) as ask_depth_10,
        trim_scale(bid_depths[2]) as bid_depth_10,
        trim_scale(level) as level,
        stream_type,
        update_id,
        extra,
        {{ contract_envelope() | join(',\n        ') }},
        content_hash,
        violation
    from topped
),

judged as (
    {{ judge('measured', columns, natural_key, ["(source = 'ws') desc"]) }}
)

select * from judged
