{#-
    What an instrument is and was, and how many coins its contracts are.

    `silver.instrument` is made by a migration, like the accounts: silver.market's transaction writes the history of the
    lists that it takes, and silver.trade finds the size of a contract that held when a trade was executed.
-#}


{#- The columns whose change begins a new row of the history. -#}
{% macro instrument_columns() %}
    {{- return([
        'market', 'instrument', 'base', 'quote', 'settle', 'underlying', 'underlying_kind', 'contract_value',
        'contract_currency', 'is_inverse', 'state', 'begins_at', 'expires_at',
    ]) -}}
{% endmacro %}


{#- Statements that put the lists taken by this transaction into the history, in whichever order lists arrive: the
    history of each code that they name is written again from its states and theirs. -#}
{% macro record_instruments() %}
    {%- set columns = instrument_columns() | join(', ') -%}
    {%- set key = 'exchange, code' -%}
    create temporary table instrument_history on commit drop as
    with

    listed as (
        select {{ key }}, event_at as valid_from, {{ columns }}, {{ contract_row_key() | join(', ') }}
        from {{ source('raw', 'market_v1') }}
        where load_id = any(array({{ taken_now(source('ops', 'load_mark'), 'load_id', 'silver.market') }}))
            and ({{ contract_violation('market') }}) is null
    ),

    states as (
        select {{ key }}, valid_from, {{ columns }}
        from (
            select listed.*, row_number() over (
                partition by {{ key }}, valid_from order by {{ contract_row_key() | join(', ') }}
            ) as place
            from listed
        ) as ranked
        where place = 1
        union all
        select {{ key }}, valid_from, {{ columns }}
        from {{ source('accounts', 'instrument') }} as held
        where (exchange, code) in (select exchange, code from listed)
            and (exchange, code, valid_from) not in (select exchange, code, valid_from from listed)
    ),

    changes as (
        select *
        from (
            select
                states.*,
                row_number() over in_time as place,
                row({{ columns }}) is distinct from lag(row({{ columns }})) over in_time as differs
            from states
            window in_time as (partition by {{ key }} order by valid_from)
        ) as compared
        where place = 1 or differs
    )

    select
        {{ key }}, valid_from,
        lead(valid_from) over (partition by {{ key }} order by valid_from) as valid_to,
        {{ columns }}
    from changes;

    delete from {{ source('accounts', 'instrument') }} as held
    using instrument_history as made
    where held.exchange = made.exchange and held.code = made.code;

    insert into {{ source('accounts', 'instrument') }} ({{ key }}, valid_from, valid_to, {{ columns }})
    select {{ key }}, valid_from, valid_to, {{ columns }} from instrument_history
{% endmacro %}


{#-
    Contracts in coins. Linear: exact. Inverse: half to even at the 18th decimal, as the parser rounds (`div` is the whole
    part of an exact quotient; PostgreSQL's / and round() would round twice, and half away from zero).
-#}
{% macro contracts_in_coins(count, size, is_inverse, price) -%}
    case
        when {{ is_inverse }} then (
            select (whole + case
                when 2 * rest > {{ price }} or (2 * rest = {{ price }} and whole % 2 = 1) then 1 else 0
            end) * 0.000000000000000001
            from (
                select
                    div({{ count }} * {{ size }} * 1000000000000000000, nullif({{ price }}, 0)) as whole,
                    mod({{ count }} * {{ size }} * 1000000000000000000, nullif({{ price }}, 0)) as rest
            ) as quotient
        )
        else {{ count }} * {{ size }}
    end
{%- endmacro %}


{#-
    Rows of trades with `size` in coins. `rows` is a CTE with raw's columns. Of a row that counts contracts an override
    decides; else the list that held at `event_at`; the parser's size holds for the time before the first list.
-#}
{% macro sized(rows, columns) %}
    select
        {%- for name in columns if name != 'size' %}
        arriving.{{ name }},
        {%- endfor %}
        case
            when arriving.size_contracts is null then arriving.size
            when ruled.size is not null
                then {{ contracts_in_coins('arriving.size_contracts', 'ruled.size', 'ruled.is_inverse', 'arriving.price') }}
            when listed.size is not null and (arriving.event_at >= listed.known_from or arriving.size is null)
                then {{ contracts_in_coins('arriving.size_contracts', 'listed.size', 'listed.is_inverse', 'arriving.price') }}
            else arriving.size
        end as size
    from {{ rows }} as arriving
    left join {{ source('accounts', 'contract_size') }} as ruled
        on ruled.is_override
            and arriving.exchange = ruled.exchange
            and arriving.code = ruled.code
            and arriving.event_at >= ruled.from_at
            and arriving.event_at < ruled.to_at
    left join {{ source('accounts', 'contract_size') }} as listed
        on not listed.is_override
            and arriving.exchange = listed.exchange
            and arriving.code = listed.code
            and arriving.event_at >= listed.from_at
            and arriving.event_at < listed.to_at
{% endmacro %}


{#- Whether a quarantined row is a trade of a contract whose size is known by now. -#}
{% macro is_sized_by_now() %}
    exists (
        select from {{ source('accounts', 'contract_size') }} as known
        where known.exchange = quarantine.exchange
            and known.code = quarantine.payload ->> 'code'
            and quarantine.event_at >= known.from_at
            and quarantine.event_at < known.to_at
    )
{% endmacro %}
