{#- What the best five and the best ten levels of one side of a book add up to, as an array. -#}
{% macro book_depths(sizes) -%}
    (
        select array[sum(size) filter (where place <= 5), sum(size)]
        from unnest({{ sizes }}[:10]) with ordinality as level (size, place)
    )
{%- endmacro %}
