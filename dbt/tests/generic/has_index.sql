{#- Fails unless the table has a valid index that begins with these columns (a unique one where asked for). -#}
{% test has_index(model, columns, unique=false) %}

select '{{ columns | join(', ') }}' as missing
where not exists (
    select
    from pg_index as candidate
    where candidate.indrelid = '{{ model.include(database=false) }}'::regclass
        and candidate.indisvalid
        {%- if unique %}
        and candidate.indisunique
        and candidate.indnkeyatts = {{ columns | length }}
        {%- endif %}
        {%- for column in columns %}
        and pg_get_indexdef(candidate.indexrelid, {{ loop.index }}, true) in ('{{ column }}', '"{{ column }}"')
        {%- endfor %}
)

{% endtest %}
