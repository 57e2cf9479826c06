{#- A score to four decimals: the order in which floats were added must not show. -#}
{% macro rounded_score(expression) -%}
    round(({{ expression }})::numeric, 4)::double precision
{%- endmacro %}
