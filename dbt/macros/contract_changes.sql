{#-
    What becomes of a table when its model's contract changes. Every run compares the two, whether or not there is
    anything new to take:

      column gained       added. Gold then takes every build again, so that rows that are there get their values;
                          rows of silver keep null, and the run warns
      not null gained     set once no row lacks the value; until then every run fails after it has done its work
      not null lost       dropped
      type changed,       refused: that is another table. The message says what to do
      column lost
-#}


{#- Brings the columns of a table to the contract, in a short transaction of its own: whoever waits for the table waits
    for that alone, not for what the run does after it. -#}
{% macro follow_contract(relation) %}
    {%- set name = consumer(relation) -%}
    {% set gained = [] %}
    {% set loosened = [] %}
    {% set refused = [] %}
    {% for row in contract_differences(relation) %}
        {% if row['held_type'] is none %}
            {% do gained.append(row['column']) %}
        {% elif row['wanted_type'] is none %}
            {% do refused.append(row['column'] ~ ' is not in the contract') %}
        {% elif not row['is_same_type'] %}
            {% do refused.append(row['column'] ~ ' is ' ~ row['held_type'] ~ ', and ' ~ row['wanted_type'] ~ ' in the contract') %}
        {% elif row['held_not_null'] and not row['wanted_not_null'] %}
            {% do loosened.append(row['column']) %}
        {% endif %}
    {% endfor %}
    {% if refused %}
        {{ exceptions.raise_compiler_error(
            'table ' ~ name ~ ' differs from its contract: ' ~ refused | join('; ') ~ '. A column is neither dropped nor '
            ~ 'given another type in place. Give the model a new name and keep both, or drop the table as tidemark_dbt '
            ~ '(drop table ' ~ name ~ ' cascade, which drops the views on it too) and run the whole layer: '
            ~ 'it is re-created from what retention has kept (select * from ops.retention)'
        ) }}
    {% endif %}
    {% if gained or loosened %}
        {% set changes = [] %}
        {% for column in gained %}
            {% do changes.append('add column ' ~ adapter.quote(column) ~ ' ' ~ model.columns[column].data_type) %}
        {% endfor %}
        {% for column in loosened %}
            {% do changes.append('alter column ' ~ adapter.quote(column) ~ ' drop not null') %}
        {% endfor %}
        {% do run_query(change_definition(relation, 'alter table ' ~ relation ~ ' ' ~ changes | join(', '))) %}
        {% if gained and config.get('incremental_strategy') == 'judge' %}
            {% do exceptions.warn(
                name ~ ' has gained ' ~ gained | join(', ') ~ ': rows that were there keep null, since silver judges a raw '
                ~ 'row once'
            ) %}
        {% elif gained %}
            {% do forget_builds(relation) %}
            {% do log(name ~ ' has gained ' ~ gained | join(', ') ~ ': every build is taken again to fill it', info=true) %}
        {% endif %}
        {% do adapter.commit() %}
        {% do begin_again(relation) %}
    {% endif %}
{% endmacro %}


{#- Sets not null on the columns of which the contract promises it. Done after the run's work and in a transaction of its
    own, so that a column that was gained has its values, and one that has not doesn't stop new rows. -#}
{% macro promise_not_null(relation) %}
    {%- set name = consumer(relation) -%}
    {% set promised = [] %}
    {% for row in contract_differences(relation) if row['wanted_not_null'] and not row['held_not_null'] %}
        {% do promised.append(row['column']) %}
    {% endfor %}
    {% if promised %}
        {% do begin_again(relation) %}
        {% for column in promised %}
            {% set missing = scalar('select count(*) from ' ~ relation ~ ' where ' ~ adapter.quote(column) ~ ' is null') %}
            {% if missing %}
                {{ exceptions.raise_compiler_error(
                    'the contract of ' ~ name ~ ' promises that ' ~ column ~ ' is not null, and ' ~ missing ~ ' rows have '
                    ~ 'none. Take the constraint out of the contract, or delete these rows as tidemark_dbt. In gold, '
                    ~ '--full-refresh computes again whatever its inputs still allow'
                ) }}
            {% endif %}
            {% do run_query(change_definition(
                relation, 'alter table ' ~ relation ~ ' alter column ' ~ adapter.quote(column) ~ ' set not null'
            )) %}
        {% endfor %}
        {% do adapter.commit() %}
    {% endif %}
{% endmacro %}


{#- Makes a mart of gold take every build that is on record again. -#}
{% macro forget_builds(relation) %}
    {% do run_query("delete from " ~ source('ops', 'build_mark') ~ " where consumer = '" ~ consumer(relation) ~ "'") %}
{% endmacro %}


{#- The columns in which table and contract differ: column, wanted_type and held_type (null where one lacks it),
    is_same_type, wanted_not_null, held_not_null. -#}
{% macro contract_differences(relation) %}
    {% set wanted = [] %}
    {% for name, column in model.columns.items() %}
        {% if '(' in column.data_type %}
            {{ exceptions.raise_compiler_error(
                'column ' ~ name ~ ' of ' ~ consumer(relation) ~ ' is ' ~ column.data_type ~ ': types of contracts have no '
                ~ 'length or precision here, since a change of it could not be seen'
            ) }}
        {% endif %}
        {% set promises = column.constraints | default([], true) | map(attribute='type') | map('string') | list %}
        {% set is_promised = 'not_null' in promises or 'ConstraintType.not_null' in promises %}
        {% do wanted.append("('" ~ name ~ "', '" ~ column.data_type ~ "', " ~ is_promised ~ ")") %}
    {% endfor %}
    {% set query %}
        select
            coalesce(wanted.name, held.attname::text) as name,
            wanted.type as wanted_type,
            format_type(held.atttypid, held.atttypmod) as held_type,
            to_regtype(wanted.type) = held.atttypid and held.atttypmod = -1 as is_same_type,
            wanted.is_promised as wanted_not_null,
            held.attnotnull as held_not_null
        from (values {{ wanted | join(', ') }}) as wanted (name, type, is_promised)
        full join (
            select attname, atttypid, atttypmod, attnotnull
            from pg_attribute
            where attrelid = to_regclass('{{ relation.include(database=false) }}') and attnum > 0 and not attisdropped
        ) as held on wanted.name = held.attname
        where wanted.name is null
            or held.attname is null
            or not (to_regtype(wanted.type) = held.atttypid and held.atttypmod = -1)
            or wanted.is_promised <> held.attnotnull
        order by 1
    {% endset %}
    {% set found = [] %}
    {% for row in run_query(query).rows %}
        {% do found.append({
            'column': row[0], 'wanted_type': row[1], 'held_type': row[2], 'is_same_type': row[3], 'wanted_not_null': row[4],
            'held_not_null': row[5],
        }) %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
