{#- Values out of a document by the names that exchanges give them: the first of the names that the document has. -#}


{#- A number, however it is spelled in JSON; null where it is missing, empty or no number. -#}
{% macro document_number(names, document='document') -%}
    case
        when {{ document_text(names, document) }} ~ '^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,2})?$'
            then trim_scale({{ document_text(names, document) }}::numeric)
    end
{%- endmacro %}


{#- A time given in milliseconds since 1970. -#}
{% macro document_time(names, document='document') -%}
    case
        when {{ document_text(names, document) }} ~ '^[0-9]{13}$'
            then timestamptz 'epoch' + {{ document_text(names, document) }}::bigint * interval '1 millisecond'
    end
{%- endmacro %}


{% macro document_text(names, document='document') -%}
    coalesce(
    {%- for name in names -%}
        {{ document }} ->> '{{ name }}'{{ ', ' if not loop.last }}
    {%- endfor -%}
    )
{%- endmacro %}
