{#- Tables and transactions that both materializations share. -#}


{#- Begins the transaction and makes every other run of the same model wait until it ends. -#}
{% macro begin_alone(relation) %}
    {% call statement('begin_alone') %}
        select pg_advisory_xact_lock(hashtextextended('tidemark.dbt:{{ consumer(relation) }}', 0))
    {% endcall %}
    {#- Hashes and text of rows must not depend on who connects. The wait above is bounded by the role's statement_timeout;
        no lock after it is worth as much patience. -#}
    {% do run_query(
        "set local timezone to 'UTC'; set local work_mem to '64MB'; set local lock_timeout to '" ~ var('lock_timeout') ~ "'"
    ) %}
{% endmacro %}


{#- Begins another transaction after a commit. The driver begins the first by itself, and doesn't see dbt's commit. -#}
{% macro begin_again(relation) %}
    {% do run_query('begin') %}
    {% do begin_alone(relation) %}
{% endmacro %}


{#- The name under which a model marks what it has taken, such as silver.trade. -#}
{% macro consumer(relation) %}
    {{- return(relation.schema ~ '.' ~ relation.identifier) -}}
{% endmacro %}


{#- The single value of a query. -#}
{% macro scalar(query) %}
    {{- return(run_query(query).columns[0].values()[0]) -}}
{% endmacro %}


{#-
    Creates the model's table from its contract unless it is there (asked under the lock, not of dbt's cache), and brings
    one that is there to the contract (macros/contract_changes.sql). True when it was created: it has no indexes then,
    see `finish_table`.
-#}
{% macro ensure_table(relation) %}
    {% set exists = scalar("select to_regclass('" ~ relation.include(database=false) ~ "') is not null") %}
    {% if exists %}
        {% do follow_contract(relation) %}
    {% else %}
        {% do run_query('create table ' ~ relation ~ get_table_columns_and_constraints()) %}
    {% endif %}
    {% do grant_missing(relation) %}
    {% do document(relation) %}
    {{ return(not exists) }}
{% endmacro %}


{#- Indexes a table that was made and filled in this transaction (filling it with them takes four times as long), and
    tells the planner of the next model what is in it. -#}
{% macro finish_table(relation) %}
    {% do create_indexes(relation) %}
    {% do run_query('analyze ' ~ relation) %}
{% endmacro %}


{#- Persists descriptions as comments, and writes none that is there already: COMMENT locks the table. -#}
{% macro document(relation) %}
    {% set query %}
        select attname, col_description(attrelid, attnum) as text
        from pg_attribute
        where attrelid = to_regclass('{{ relation.include(database=false) }}') and attnum > 0 and not attisdropped
        union all
        select '', obj_description(to_regclass('{{ relation.include(database=false) }}'), 'pg_class')
    {% endset %}
    {% set present = {} %}
    {% for row in run_query(query).rows %}{% do present.update({row[0]: row[1]}) %}{% endfor %}
    {% if config.persist_relation_docs() and present[''] != model.description %}
        {% do run_query(alter_relation_comment(relation, model.description)) %}
    {% endif %}
    {% for name, column in model.columns.items() if config.persist_column_docs() and present[name] != column.description %}
        {% do run_query(
            'comment on column ' ~ relation ~ '.' ~ adapter.quote(name) ~ ' is ' ~ postgres_escape_comment(column.description)
        ) %}
    {% endfor %}
{% endmacro %}


{#- The columns of the model's table, as its contract lists them; with a prefix when one is given. -#}
{% macro contracted_columns(prefix='') %}
    {%- set names = [] -%}
    {%- for name in model.columns -%}{%- do names.append(prefix ~ adapter.quote(name)) -%}{%- endfor -%}
    {{- return(names | join(', ')) -}}
{% endmacro %}


{#- dbt's own, without its warning about numeric without a scale: decimals here are exact at any scale. -#}
{% macro postgres__get_empty_schema_sql(columns) %}
    select
    {%- for name, column in columns.items() %}
        cast(null as {{ column.data_type }}) as {{ adapter.quote(name) }}{{ ',' if not loop.last }}
    {%- endfor %}
    limit 0
{% endmacro %}
