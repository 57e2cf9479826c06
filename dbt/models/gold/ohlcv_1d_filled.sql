{{ config(materialized = 'lasting_view') }}

{{ filled(ref('ohlcv_1d'), '1 day') }}
