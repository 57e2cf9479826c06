{#- Rows of markets that no list of their exchange has, where there is one. -#}
{% test listed_market(model, markets) %}

select distinct row_of.exchange, row_of.market
from {{ model }} as row_of
where row_of.exchange in (select listing.exchange from {{ markets }} as listing)
    and not exists (
        select from {{ markets }} as listing
        where listing.exchange = row_of.exchange and listing.market = row_of.market
    )

{% endtest %}
