{#- Bars whose prices or volumes contradict each other. -#}
{% test ohlc_consistent(model) %}

select *
from {{ model }}
where not (
    low <= least(open, close)
    and high >= greatest(open, close)
    and low > 0
    and volume_base > 0
    and trade_count > 0
    and buy_volume_base + sell_volume_base = volume_base
    and vwap between low - 0.000000000001 and high + 0.000000000001
)

{% endtest %}
