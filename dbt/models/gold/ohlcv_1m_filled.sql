{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_1m'), '1 minute') }}
