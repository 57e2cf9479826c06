{#- A view: the rhythm of the Korean day, told from bars that are right already. -#}
{{ config(materialized = 'lasting_view') }}

with

hours as (
    select
        *,
        bucket_at at time zone 'Asia/Seoul' as kst_at
    from {{ ref('ohlcv_1h') }}
),

placed as (
    select
        *,
        kst_at::date as kst_date,
        extract(hour from kst_at)::integer as kst_hour,
        extract(isodow from kst_at)::integer as kst_weekday
    from hours
)

select
    exchange,
    market,
    bucket_at,
    kst_date,
    kst_hour,
    kst_weekday,
    trade_count,
    volume_base,
    volume_quote,
    {{ ratio('volume_quote', 'trade_count', 8) }} as mean_trade_quote,
    {{ ratio('buy_volume_base', 'volume_base', 6) }} as buy_share,
    {{ ratio('volume_quote', 'sum(volume_quote) over (partition by exchange, market, kst_date)', 6) }} as day_share
from placed
