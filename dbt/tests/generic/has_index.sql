{#- Fails unless the table has a valid index that begins with these columns (a unique one where asked for). -#}
{% test has_index(model, columns, unique=false) %}
{%- set conditions = [] -%}
{%- for column in columns -%}
    {%- do conditions.append(
        "replace(pg_get_indexdef(candidate.indexrelid, " ~ loop.index ~ ", true), '\"', '') = '" ~ column ~ "'"
    ) -%}
{%- endfor %}

select '{{ columns | join(', ') }}' as missing
where
    not exists (
        select 1
        from pg_index as candidate
        where candidate.indrelid = '{{ model.include(database=false) }}'::regclass
            and candidate.indisvalid
            {{ 'and candidate.indisunique and candidate.indnkeyatts = ' ~ columns | length if unique }}
            and {{ conditions | join(' and ') }}
    )

{% endtest %}
