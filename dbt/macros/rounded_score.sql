{#- A score to four decimals: the order in which floats were added must not show. -#}
{% macro rounded_score(expression) -%}
    round(({{ expression }})::numeric, 4)::double precision
{%- endmacro %}


{#- A float to ten significant digits, for values of any size. -#}
{% macro rounded_digits(expression) -%}
    case
        when {{ expression }} = 0 then 0
        else round(({{ expression }})::numeric, 9 - floor(log(abs({{ expression }})))::integer)
    end::double precision
{%- endmacro %}
