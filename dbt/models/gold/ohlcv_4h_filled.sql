{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_4h'), '4 hours') }}
