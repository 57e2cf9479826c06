{#-
    Exact quotients, rounded half away from zero to a number of decimals.

    A division or avg() of PostgreSQL has as many decimals as its operands, or 16 digits in all: without the inner
    rounding a large value has fewer decimals than promised (a price of 100,000,000 has 8), and how many would depend on
    the operands' spelling. Every division and mean of decimals in this project is one of these.
-#}
{% macro ratio(numerator, denominator, decimals) -%}
    trim_scale(round(round({{ numerator }}, 30) / {{ denominator }}, {{ decimals }}))
{%- endmacro %}


{#- `window` is the window, or the group by default. -#}
{% macro mean(value, decimals, window=none) -%}
    {%- set over = ' over ' ~ window if window else '' -%}
    {{ ratio('sum(' ~ value ~ ')' ~ over, 'nullif(count(' ~ value ~ ')' ~ over ~ ', 0)', decimals) }}
{%- endmacro %}


{#- Volume-weighted average price. -#}
{% macro vwap(volume_quote, volume_base) -%}
    {{ ratio(volume_quote, volume_base, 12) }}
{%- endmacro %}
