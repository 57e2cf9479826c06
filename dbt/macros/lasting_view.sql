{#-
    A view that is left alone while its definition is the one that is there, and replaced where it stands when it isn't,
    under the lock that every model takes. dbt's own drops each view in every run and re-creates it: two runs at once
    collide, readers find nothing for a moment, and one reader's open transaction stops the run and all other readers.
-#}
{% materialization lasting_view, adapter='postgres' %}
    {% set target = this.incorporate(type='view') %}
    {% do begin_alone(target) %}
    {{ run_hooks(pre_hooks) }}
    {% do get_assert_columns_equivalent(sql) %}
    {% if should_full_refresh() or is_view_stale(target, sql) %}
        {% set made %}create or replace view {{ target }} as {{ sql }}{% endset %}
        {#- A view that loses a column, or gains one between others, can't be replaced. The layer's views on it go with it,
            and come back when the run gets to them; somebody else's view on it is a reason to stop. -#}
        {% set cascade = '' if has_foreign_views(target) else 'cascade' %}
        {% set remade %}drop view {{ target }} {{ cascade }}; create view {{ target }} as {{ sql }}{% endset %}
        {% call statement('main') %}{{ change_definition(target, made, otherwise=remade) }}{% endcall %}
    {% else %}
        {% call noop_statement('main', 'UNCHANGED') %}{% endcall %}
    {% endif %}
    {% do grant_missing(target) %}
    {% do document(target) %}
    {{ run_hooks(post_hooks) }}
    {% do adapter.commit() %}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}
