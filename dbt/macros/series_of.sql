{#- The series (exchange, market) that a table of silver holds. Walks the index from one to the next, so that it costs as
    much as there are series, not rows. -#}
{% macro series_of(relation) %}
    with recursive held as (
        (select exchange, market from {{ relation }} order by exchange, market limit 1)
        union all
        select following.exchange, following.market
        from held
        cross join lateral (
            select exchange, market from {{ relation }} as silver
            where (silver.exchange, silver.market) > (held.exchange, held.market)
            order by exchange, market
            limit 1
        ) as following
    )

    select exchange, market from held
{% endmacro %}
