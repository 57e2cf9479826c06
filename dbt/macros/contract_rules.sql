{#- Rendered from tidemark/contracts by `make contracts`. Do not edit. -#}


{#- A dataset's own columns in order: name to kind. -#}
{% macro contract_fields(dataset) %}
    {%- set fields = {
        'trade': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'trade_id': 'integer',
            'event_at': 'timestamp',
            'price': 'decimal',
            'size': 'decimal',
            'side': 'text',
            'published_at': 'timestamp',
            'prev_closing_price': 'decimal',
            'change': 'text',
            'change_price': 'decimal',
            'best_ask_price': 'decimal',
            'best_ask_size': 'decimal',
            'best_bid_price': 'decimal',
            'best_bid_size': 'decimal',
            'stream_type': 'text',
            'first_trade_id': 'integer',
            'last_trade_id': 'integer',
            'size_contracts': 'decimal',
            'size_without_rpi': 'decimal',
            'order_source': 'text',
            'sequence_id': 'integer',
            'extra': 'json',
        },
        'ticker': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'event_at': 'timestamp',
            'opening_price': 'decimal',
            'high_price': 'decimal',
            'low_price': 'decimal',
            'trade_price': 'decimal',
            'prev_closing_price': 'decimal',
            'change': 'text',
            'change_price': 'decimal',
            'signed_change_price': 'decimal',
            'change_rate': 'decimal',
            'signed_change_rate': 'decimal',
            'trade_volume': 'decimal',
            'acc_trade_volume': 'decimal',
            'acc_trade_volume_24h': 'decimal',
            'acc_trade_price': 'decimal',
            'acc_trade_price_24h': 'decimal',
            'trade_date': 'text',
            'trade_time': 'text',
            'trade_at': 'timestamp',
            'side': 'text',
            'acc_ask_volume': 'decimal',
            'acc_bid_volume': 'decimal',
            'highest_52_week_price': 'decimal',
            'highest_52_week_date': 'text',
            'lowest_52_week_price': 'decimal',
            'lowest_52_week_date': 'text',
            'market_state': 'text',
            'is_trading_suspended': 'boolean',
            'delisting_date': 'text',
            'market_warning': 'text',
            'stream_type': 'text',
            'best_ask_price': 'decimal',
            'best_ask_size': 'decimal',
            'best_bid_price': 'decimal',
            'best_bid_size': 'decimal',
            'open_price_24h': 'decimal',
            'high_price_24h': 'decimal',
            'low_price_24h': 'decimal',
            'trade_volume_contracts': 'decimal',
            'best_ask_contracts': 'decimal',
            'best_bid_contracts': 'decimal',
            'extra': 'json',
        },
        'orderbook': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'event_at': 'timestamp',
            'total_ask_size': 'decimal',
            'total_bid_size': 'decimal',
            'ask_prices': 'decimals',
            'ask_sizes': 'decimals',
            'bid_prices': 'decimals',
            'bid_sizes': 'decimals',
            'level': 'decimal',
            'stream_type': 'text',
            'update_id': 'integer',
            'extra': 'json',
        },
        'depth': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'event_at': 'timestamp',
            'changed_at': 'timestamp',
            'kind': 'text',
            'first_update_id': 'integer',
            'last_update_id': 'integer',
            'prev_update_id': 'integer',
            'ask_prices': 'decimals',
            'ask_sizes': 'decimals',
            'bid_prices': 'decimals',
            'bid_sizes': 'decimals',
            'checksum': 'integer',
            'size_unit': 'text',
            'extra': 'json',
        },
        'candle': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'interval': 'text',
            'event_at': 'timestamp',
            'open': 'decimal',
            'high': 'decimal',
            'low': 'decimal',
            'close': 'decimal',
            'volume_base': 'decimal',
            'volume_quote': 'decimal',
            'updated_at': 'timestamp',
            'is_closed': 'boolean',
            'prev_closing_price': 'decimal',
            'signed_change_price': 'decimal',
            'signed_change_rate': 'decimal',
            'stream_type': 'text',
            'trade_count': 'integer',
            'buy_volume_base': 'decimal',
            'buy_volume_quote': 'decimal',
            'volume_contracts': 'decimal',
            'first_trade_id': 'integer',
            'last_trade_id': 'integer',
            'extra': 'json',
        },
        'market': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'event_at': 'timestamp',
            'korean_name': 'text',
            'english_name': 'text',
            'warning': 'boolean',
            'cautions': 'json',
            'instrument': 'text',
            'state': 'text',
            'contract_size': 'decimal',
            'tick_size': 'decimal',
            'base': 'text',
            'quote': 'text',
            'settle': 'text',
            'underlying': 'text',
            'underlying_kind': 'text',
            'contract_value': 'decimal',
            'contract_currency': 'text',
            'is_inverse': 'boolean',
            'begins_at': 'timestamp',
            'expires_at': 'timestamp',
            'extra': 'json',
        },
        'snapshot': {
            'exchange': 'text',
            'market': 'text',
            'code': 'text',
            'event_at': 'timestamp',
            'document': 'json',
        },
    } -%}
    {{- return(fields[dataset]) -}}
{% endmacro %}


{#- Where a raw row came from: the columns that every dataset has. -#}
{% macro contract_envelope() %}
    {{- return([
        'load_id',
        'source',
        'received_at',
        'connection_id',
        'frame_no',
        'kafka_cluster',
        'kafka_epoch',
        'kafka_topic',
        'kafka_partition',
        'kafka_offset',
        'item',
    ]) -}}
{% endmacro %}


{#- The identity of a raw row. -#}
{% macro contract_row_key() %}
    {{- return([
        'kafka_cluster',
        'kafka_epoch',
        'kafka_topic',
        'kafka_partition',
        'kafka_offset',
        'item',
    ]) -}}
{% endmacro %}


{#- The time that a raw row is counted at: its own where that is plausible, else its receipt. -#}
{% macro contract_counted_at() -%}
    case when event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds' then event_at else received_at end
{%- endmacro %}


{#- The first rule of the contract that a row breaks (such as missing_price, bad_price), or null. -#}
{% macro contract_violation(dataset) -%}
    {%- if dataset == 'trade' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when trade_id is null then 'missing_trade_id'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when price is null then 'missing_price'
        when not price > 0 then 'bad_price'
        when size is null and size_contracts is null then 'missing_size'
        when size is null then 'unknown_contract'
        when not size > 0 then 'bad_size'
        when side is null then 'missing_side'
        when side not in ('buy', 'sell') then 'bad_side'
        when not first_trade_id between last_trade_id - 99999 and last_trade_id then 'bad_first_trade_id'
        when not size_contracts > 0 then 'bad_size_contracts'
    end
    {%- elif dataset == 'ticker' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when not trade_price > 0 then 'bad_trade_price'
    end
    {%- elif dataset == 'orderbook' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when ask_prices is null then 'missing_ask_prices'
        when ask_sizes is null then 'missing_ask_sizes'
        when bid_prices is null then 'missing_bid_prices'
        when bid_sizes is null then 'missing_bid_sizes'
        when (0 < all(ask_prices)) is not true then 'bad_ask_prices'
        when (0 < all(ask_sizes)) is not true then 'bad_ask_sizes'
        when (0 < all(bid_prices)) is not true then 'bad_bid_prices'
        when (0 < all(bid_sizes)) is not true then 'bad_bid_sizes'
        when cardinality(ask_prices) <> cardinality(ask_sizes) or cardinality(bid_prices) <> cardinality(bid_sizes) then 'uneven_book'
        when exists (select from generate_subscripts(ask_prices, 1) as n where ask_prices[n] >= ask_prices[n + 1]) or exists (select from generate_subscripts(bid_prices, 1) as n where bid_prices[n] <= bid_prices[n + 1]) then 'unsorted_book'
        when bid_prices[1] >= ask_prices[1] then 'crossed_book'
    end
    {%- elif dataset == 'depth' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when kind is null then 'missing_kind'
        when kind not in ('snapshot', 'update') then 'bad_kind'
        when last_update_id is null then 'missing_last_update_id'
        when ask_prices is null then 'missing_ask_prices'
        when ask_sizes is null then 'missing_ask_sizes'
        when bid_prices is null then 'missing_bid_prices'
        when bid_sizes is null then 'missing_bid_sizes'
        when (0 < all(ask_prices)) is not true then 'bad_ask_prices'
        when (0 <= all(ask_sizes)) is not true then 'bad_ask_sizes'
        when (0 < all(bid_prices)) is not true then 'bad_bid_prices'
        when (0 <= all(bid_sizes)) is not true then 'bad_bid_sizes'
        when cardinality(ask_prices) <> cardinality(ask_sizes) or cardinality(bid_prices) <> cardinality(bid_sizes) then 'uneven_book'
    end
    {%- elif dataset == 'candle' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when interval is null then 'missing_interval'
        when interval not in ('1s', '1m', '3m', '5m', '10m', '15m', '30m', '1h', '2h', '4h', '6h', '8h', '12h', '1d', '2d', '3d', '5d', '1w', '1mo', '3mo') then 'bad_interval'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when open is null then 'missing_open'
        when not open > 0 then 'bad_open'
        when high is null then 'missing_high'
        when not high > 0 then 'bad_high'
        when low is null then 'missing_low'
        when not low > 0 then 'bad_low'
        when close is null then 'missing_close'
        when not close > 0 then 'bad_close'
        when volume_base is null then 'missing_volume_base'
        when not volume_base >= 0 then 'bad_volume_base'
        when volume_quote is null then 'missing_volume_quote'
        when not volume_quote >= 0 then 'bad_volume_quote'
        when updated_at is null then 'missing_updated_at'
        when not coalesce(updated_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_updated_at'
        when not trade_count >= 0 then 'bad_trade_count'
    end
    {%- elif dataset == 'market' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
    end
    {%- elif dataset == 'snapshot' -%}
    case
        when exchange is null then 'missing_exchange'
        when market is null then 'missing_market'
        when code is null then 'missing_code'
        when event_at is null then 'missing_event_at'
        when not coalesce(event_at between timestamptz '2017-01-01 00:00:00+00' and received_at + interval '900 seconds', false) then 'implausible_event_at'
        when document is null then 'missing_document'
    end
    {%- endif -%}
{%- endmacro %}
