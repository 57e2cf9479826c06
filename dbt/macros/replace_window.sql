{#-
    Strategy of gold: the touched windows are deleted and made anew, whatever rows they held. A bar whose trades are gone
    goes too.

    The builds that an upstream has done with are marked; the stretches of event time that they touched (widened by
    the mart's look-back) are deleted and inserted as the model's SQL computes them.
    The model's config names, under meta: upstream, the rules of `touched_ranges`, and, where it is not `bucket_at`, the
    column of its time (`time`).
-#}
{% macro apply_replace_window(target, sql, created) %}
    {%- set rules = config.get('meta') -%}
    {% if created %}
        {% do forget_builds(target) %}
    {% endif %}
    {% if take_builds(target, rules.upstream) %}
        {% do get_assert_columns_equivalent(sql) %}
        {% if rules.inputs %}
            {% do record_refusals(target, rules) %}
        {% endif %}
        {% call statement('main') %}
            {{ replace_window(target, sql, rules) }}
        {% endcall %}
    {% else %}
        {% do nothing_new() %}
    {% endif %}
{% endmacro %}


{#- Two statements in one call: what lies in the touched windows goes, what belongs there comes. -#}
{% macro replace_window(target, sql, rules) %}
    {%- set scope = rules.scope or 'series' -%}
    delete from {{ target }} as old
    using ({{ touched_ranges(consumer(target), rules) }}) as touched
    where old.{{ rules.time or 'bucket_at' }} >= touched.from_at
        and old.{{ rules.time or 'bucket_at' }} < touched.to_at
        {%- for name in scope_columns(scope) %}
        and old.{{ name }} = touched.{{ name }}
        {%- endfor %};

    insert into {{ target }} ({{ contracted_columns() }})
    select {{ contracted_columns() }} from ({{ sql }}) as made
{% endmacro %}
