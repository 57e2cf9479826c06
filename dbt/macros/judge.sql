{#-
    How silver decides. Each raw row that arrives gets exactly one outcome:
      kept         it stands for its event in silver;
      duplicate    another row, which is in silver, says the same;
      superseded   a later state of the same event is in silver;
      conflict     another row of the same identity says something else: quarantined;
      <violation>  it breaks a rule (missing_price, bad_side, unknown_market …): quarantined.
    The verdict depends on the rows alone, never on the order in which they arrive.
-#}


{#- The rows that arrive: those of the loads that this transaction has marked, and those let out of quarantine
    because their market, or what their contract is, is listed by now. -#}
{% macro arrived(raw, dataset, markets=none) %}
    select arriving.*
    from {{ raw }} as arriving
    where arriving.load_id = any(array(
        {{ taken_now(source('ops', 'load_mark'), 'load_id', 'silver.' ~ dataset) }}
    ))
    {%- if markets %}
    union all
    select arriving.*
    from {{ raw }} as arriving
    inner join (
        {{ listed_by_now(dataset, markets) }}
    ) as listed on {{ same_row('arriving', 'listed') }}
    where arriving.load_id = any(array(
        select listed.load_id from ({{ listed_by_now(dataset, markets) }}) as listed
    ))
    {%- endif %}
{% endmacro %}


{#- Quarantined rows of unknown markets that the exchange lists by now, and trades of contracts whose size is known by now. -#}
{% macro listed_by_now(dataset, markets) %}
    select quarantine.*
    from {{ source('accounts', 'quarantine') }} as quarantine
    where quarantine.dataset = '{{ dataset }}'
        and (
            (
                quarantine.reason = 'unknown_market'
                and (quarantine.exchange, quarantine.market) in (
                    select listing.exchange, listing.market from {{ markets }} as listing
                )
            )
            {%- if dataset == 'trade' %}
            or (quarantine.reason = 'unknown_contract' and {{ is_sized_by_now() }})
            {%- endif %}
        )
{% endmacro %}


{#- The columns of silver for a dataset whose silver rows have raw's columns; numbers without trailing zeros. -#}
{% macro normalised(dataset) %}
    {%- for name, kind in contract_fields(dataset).items() %}
        {{ 'trim_scale(' ~ name ~ ') as ' ~ name if kind == 'decimal' else name }},
    {%- endfor %}
        {{ contract_envelope() | join(',\n        ') }}
{%- endmacro %}


{#- The reason why a row is refused, or null. An exchange's markets are known once a list of them has arrived. -#}
{% macro violation(dataset, markets) %}
    coalesce(
        {{ contract_violation(dataset) }},
        case
            when exchange in (select listing.exchange from {{ markets }} as listing)
                and (exchange, market) not in (select listing.exchange, listing.market from {{ markets }} as listing)
                then 'unknown_market'
        end,
        {#- What it would have to be told apart from has been dropped. #}
        case when event_at < {{ floor_of(['silver.' ~ dataset]) }} then 'beyond_retention' end
    )
{%- endmacro %}


{#-
    The verdicts. `rows` is a relation or CTE with `columns` and `violation`. Of the rows with the same `natural_key`,
    and the one that silver holds, the first by `precedence` (then the lowest raw key) is kept; the others are
    duplicates where `content` is equal, else `loser` (conflict or superseded). What silver holds comes out only
    where it is displaced (`is_held`).
    Where one row may stand for several: `identity` are the columns that rows of one event share in place of the natural
    key, `held` is a relation of silver's rows to compare with, and a row that is not `spans` is a duplicate of one that is.
-#}
{% macro judge(rows, columns, natural_key, precedence, content=[], loser='duplicate', identity=none, held=none, spans=none) %}
    {%- set shared = identity or natural_key -%}
    {%- set added = shared | reject('in', columns) | list -%}
    select
        {{ columns | join(',\n        ') }},
        is_held,
        case
            when violation is not null then violation
            when place = 1 then 'kept'
            {%- if content %}
            {%- if spans %}
            when kept_spans and not ({{ spans }}) then 'duplicate'
            {%- endif %}
            {#- A record's <> takes two nulls for equal, and a null for unequal to anything else. #}
            when row({{ content | join(', ') }}) <> kept_content then '{{ loser }}'
            {%- endif %}
            else 'duplicate'
        end as outcome
    from (
        select
            contender.*,
            {%- if content %}
            first_value(row({{ content | join(', ') }})) over ranking as kept_content,
            {%- endif %}
            {%- if spans %}
            first_value({{ spans }}) over ranking as kept_spans,
            {%- endif %}
            row_number() over ranking as place
        from (
            select {{ (columns + added) | join(', ') }}, violation, false as is_held
            from {{ rows }}
            union all
            select {{ (columns + added) | join(', ') }}, null as violation, true as is_held
            {%- if held %}
            from {{ held }}
            {%- else %}
            from {{ this }}
            where ({{ natural_key | join(', ') }}) in (
                select {{ natural_key | join(', ') }} from {{ rows }} where violation is null
            )
            {%- endif %}
        ) as contender
        window ranking as (
            partition by {{ shared | reverse | join(', ') }}, violation is null
            order by {{ (precedence + contract_row_key()) | join(', ') }}, is_held desc
        )
    ) as ranked
    where not (is_held and place = 1)
{% endmacro %}


{#- Whether two aliases are the same raw row. -#}
{% macro same_row(a, b) -%}
    {%- for name in ['load_id'] + contract_row_key() -%}
        {{ a }}.{{ name }} = {{ b }}.{{ name }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}


{#- MD5 over the values of columns; times by the session's zone, which is UTC in our transactions. -#}
{% macro content_hash(columns) -%}
    md5(row({{ columns | join(', ') }})::text)
{%- endmacro %}
