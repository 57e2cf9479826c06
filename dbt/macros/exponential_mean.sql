{#-
    The exponentially weighted mean over a window's frame, each bar weighing `keep` times the one after it and the weights
    summing to one (pandas: ewm(alpha = 1 - keep, adjust = True)). `n` numbers the bars.
-#}
{% macro exponential_mean(value, keep, window) -%}
    sum({{ value }} * power({{ keep }}::double precision, -n)) over {{ window }}
    / sum(power({{ keep }}::double precision, -n)) over {{ window }}
{%- endmacro %}
