{#- A view: whether a bar is final changes with time and with what is proven of it, not only with its trades. -#}
{%- set widths = {
    '1m': '1 minute', '5m': '5 minutes', '15m': '15 minutes', '1h': '1 hour', '4h': '4 hours', '1d': '24 hours',
    '1d_kst': '24 hours',
} -%}
{{ config(materialized = 'lasting_view') }}

with

-- A branch for each width, so that who asks for one reads the bars of that one alone.
bars as (
    {%- for name, width in widths.items() %}
    select
        '{{ name }}' as width,
        bar.*,
        bar.bucket_at + interval '{{ width }}' as end_at
    from {{ ref('ohlcv_' ~ name) }} as bar
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
)

-- Prices are the exchange's own. A mean has as many decimals as they have, money as many as people count.
select
    exchange,
    market,
    width,
    bucket_at,
    bucket_at at time zone 'Asia/Seoul' as kst_at,
    open,
    high,
    low,
    close,
    round(volume_base, 8) as volume_base,
    round(
        volume_quote,
        case split_part(market, '-', 2) when 'KRW' then 0 when 'BTC' then 8 when 'ETH' then 8 else 2 end
    ) as volume_quote,
    round(vwap, greatest(scale(open), scale(high), scale(low), scale(close))) as vwap,
    trade_count,
    round(buy_volume_base, 8) as buy_volume_base,
    round(sell_volume_base, 8) as sell_volume_base,
    end_at <= now() and (
        -- Of a bar within an hour that hour, of a longer one each of its hours.
        select count(*) filter (where hour.state = 'green')
        from {{ source('ops', 'hour_state') }} as hour
        where hour.exchange = bars.exchange
            and hour.dataset = 'trade'
            and hour.hour_at >= {{ floor_to('1 hour', 'bars.bucket_at') }}
            and hour.hour_at < bars.end_at
    ) >= greatest(extract(epoch from end_at - bucket_at) / 3600, 1) as is_final
from bars
