{#-
    The accounts of silver: where the raw rows go that are not in silver, so that
    raw = silver + duplicate + superseded + quarantine holds to the row.
-#}


{#- The natural key within its exchange as one text, such as BTC-KRW|17732400590950000. -#}
{% macro natural_key_text(rules, alias) -%}
    concat_ws('|'
    {%- for name in rules.natural_key if name != 'exchange' -%}
        , {% if name.endswith('_at') -%}
            to_char({{ alias }}.{{ name }} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
        {%- else -%}
            {{ alias }}.{{ name }}
        {%- endif -%}
    {%- endfor -%}
    )
{%- endmacro %}


{#- The hash of what two rows of one identity must agree on. -#}
{% macro account_hash(rules, alias) -%}
    {%- if 'content_hash' in rules.natural_key -%}
        {{ alias }}.content_hash
    {%- else -%}
        {%- set columns = [] -%}
        {%- for name in rules.content -%}{%- do columns.append(alias ~ '.' ~ name) -%}{%- endfor -%}
        {{ content_hash(columns) }}
    {%- endif -%}
{%- endmacro %}


{#- The columns that all three accounts have. -#}
{% macro account_columns() %}
    {{- return(
        ['exchange', 'dataset', 'market', 'event_at', 'natural_key', 'content_hash', 'source', 'load_id', 'received_at']
        + contract_row_key()
    ) -}}
{% endmacro %}


{#- Books every loser of the judged rows. -#}
{% macro book_losers(judged, dataset, rules) %}
    {% for outcome in ['duplicate', 'superseded'] %}
        {% set query %}
            insert into {{ source('accounts', outcome) }} ({{ account_columns() | join(', ') }})
            select
                exchange, '{{ dataset }}', market, event_at,
                {{ natural_key_text(rules, 'judged') }}, {{ account_hash(rules, 'judged') }},
                source, load_id, received_at, {{ contract_row_key() | join(', ') }}
            from {{ judged }} as judged
            where outcome = '{{ outcome }}'
        {% endset %}
        {% do run_query(query) %}
    {% endfor %}
    {% set refused %}
        select
            judged.*,
            case when outcome = 'conflict' then {{ natural_key_text(rules, 'judged') }} end as natural_key,
            case when outcome = 'conflict' then {{ account_hash(rules, 'judged') if rules.content else 'null' }} end as account_hash
        from {{ judged }} as judged
        where outcome not in ('kept', 'duplicate', 'superseded')
    {% endset %}
    {% do quarantine(refused, dataset) %}
{% endmacro %}


{#- Quarantines rows, with the raw row as it came, or as it was known where raw has been dropped. `refused` yields
    exchange, market, event_at, source, load_id, received_at, the raw row's key, outcome, natural_key and account_hash. -#}
{% macro quarantine(refused, dataset) %}
    {% set query %}
        insert into {{ source('accounts', 'quarantine') }} (
            exchange, dataset, market, event_at, hour_at, reason, natural_key, content_hash, payload,
            source, load_id, received_at, {{ contract_row_key() | join(', ') }}
        )
        select
            refused.exchange, '{{ dataset }}', refused.market, refused.event_at,
            date_trunc('hour', refused.counted_at),
            refused.outcome, refused.natural_key, refused.account_hash,
            coalesce(to_jsonb(raw), to_jsonb(refused) - 'counted_at') - 'load_id',
            refused.source, refused.load_id, refused.received_at,
            {% for name in contract_row_key() %}refused.{{ name }}{{ ', ' if not loop.last }}{% endfor %}
        from (select *, {{ contract_counted_at() }} as counted_at from ({{ refused }}) as refused) as refused
        left join {{ source('raw', dataset ~ '_v1') }} as raw
            on {{ same_row('raw', 'refused') }}
                and raw.load_id = any(array(select load_id from ({{ refused }}) as refused))
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}


{#- Takes out of quarantine what has been judged again. -#}
{% macro release(judged, dataset) %}
    {% set query %}
        delete from {{ source('accounts', 'quarantine') }} as quarantine
        using {{ judged }} as judged
        where quarantine.dataset = '{{ dataset }}'
            and quarantine.reason in ('unknown_market', 'unknown_contract')
            and {{ same_row('quarantine', 'judged') }}
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}


{#-
    Where another content won, the earlier losers are judged against it: a duplicate of the old winner is now
    {{ loser }}, and who says what the new winner says is a duplicate.
-#}
{% macro rebook(judged, dataset, rules) %}
    {% set changed = 'changed_' ~ dataset %}
    {% set query %}
        create temporary table {{ changed }} on commit drop as
        select
            winner.exchange,
            {{ natural_key_text(rules, 'winner') }} as natural_key,
            {{ account_hash(rules, 'winner') }} as content_hash
        from {{ judged }} as winner
        inner join {{ judged }} as displaced using ({{ rules.natural_key | join(', ') }})
        where winner.outcome = 'kept' and displaced.is_held and displaced.outcome = '{{ rules.loser }}'
    {% endset %}
    {% do run_query(query) %}
    {% if rules.loser == 'superseded' %}
        {% do rebook_superseded(changed, dataset) %}
    {% else %}
        {% do rebook_conflict(changed, dataset) %}
    {% endif %}
{% endmacro %}


{% macro rebook_superseded(changed, dataset) %}
    {% for from_account, to_account, test in [('duplicate', 'superseded', '<>'), ('superseded', 'duplicate', '=')] %}
        {% set query %}
            with moved as (
                {{ take_out(from_account, changed, dataset, test) }}
            )

            insert into {{ source('accounts', to_account) }} ({{ account_columns() | join(', ') }})
            select {{ account_columns() | join(', ') }} from moved
        {% endset %}
        {% do run_query(query) %}
    {% endfor %}
{% endmacro %}


{% macro rebook_conflict(changed, dataset) %}
    {% set moved = 'moved_' ~ dataset %}
    {% do run_query('create temporary table ' ~ moved ~ ' (like ' ~ source('accounts', 'duplicate') ~ ') on commit drop') %}
    {% set query %}
        with moved as (
            {{ take_out('duplicate', changed, dataset, '<>') }}
        )

        insert into {{ moved }} select * from moved
    {% endset %}
    {% do run_query(query) %}
    {% set refused %}
        select moved.*, 'conflict' as outcome, moved.content_hash as account_hash from {{ moved }} as moved
    {% endset %}
    {% do quarantine(refused, dataset) %}
    {% set query %}
        with moved as (
            {{ take_out('quarantine', changed, dataset, '=') }}
        )

        insert into {{ source('accounts', 'duplicate') }} ({{ account_columns() | join(', ') }})
        select {{ account_columns() | join(', ') }} from moved
    {% endset %}
    {% do run_query(query) %}
{% endmacro %}


{% macro take_out(account, changed, dataset, test) %}
    delete from {{ source('accounts', account) }} as account
    using {{ changed }} as changed
    where account.dataset = '{{ dataset }}'
        and account.exchange = changed.exchange
        and account.natural_key = changed.natural_key
        and account.content_hash {{ test }} changed.content_hash
    returning account.*
{% endmacro %}
