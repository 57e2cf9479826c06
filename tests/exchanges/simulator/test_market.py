"""The hidden market: the same by seed however it is asked, and looking like a market."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from statistics import median

import pytest

from tidemark.local.simulator.binance.instruments import SWAPS as BINANCE_SWAPS
from tidemark.local.simulator.market.candles import DAY, HOUR, WEEK, Candle, roll_up
from tidemark.local.simulator.market.fills import FillTape
from tidemark.local.simulator.market.hidden import HiddenMarket, drawn
from tidemark.local.simulator.market.instruments import E8, E16, MARKETS, tick_size
from tidemark.local.simulator.market.tape import Trade
from tidemark.local.simulator.okx.instruments import SWAPS

DAY_MS = 86_400_000
START = 1_795_014_000_000  # 2026-11-18T15:00Z = 00:00 KST
END = START + DAY_MS
NOW = END // 1000 + 61
HOURS = range(START // 3_600_000, END // 3_600_000)


def make(seed: int = 7, now: int = END + 60_000, trades_per_day: int = 150_000) -> HiddenMarket:
    return HiddenMarket(seed, START, lambda: now, trades_per_day=trades_per_day, minute_days=14, day_days=130)


@pytest.fixture(scope="module")
def hidden() -> HiddenMarket:
    return make()


@pytest.fixture(scope="module")
def day(hidden: HiddenMarket) -> dict[str, list[Trade]]:
    return {code: hidden.tape.between(market, START, END) for code, market in MARKETS.items()}


def minute_closes(trades: list[Trade]) -> dict[int, int]:
    return {trade.ms // 60_000: trade.price for trade in trades}


def test_same_seed_same_market_in_whatever_order_it_is_asked(day: dict[str, list[Trade]]) -> None:
    drawn.cache_clear()
    again = make()
    backwards = [again.tape.hour(MARKETS["KRW-XRP"], hour) for hour in reversed(HOURS)]
    assert [trade for hour in reversed(backwards) for trade in hour] == day["KRW-XRP"]
    other = make(seed=8)
    assert other.tape.hour(MARKETS["KRW-XRP"], HOURS[0]) != again.tape.hour(MARKETS["KRW-XRP"], HOURS[0])


def test_markets_are_busy_and_quiet(day: dict[str, list[Trade]]) -> None:
    assert len(day) == 20
    assert {code.split("-")[0] for code in day} == {"KRW", "BTC", "USDT"}
    assert 110_000 < sum(map(len, day.values())) < 200_000
    assert len({t.ms // 60_000 for t in day["KRW-BTC"]}) > 1400
    assert 20 < len(day["BTC-ARDR"]) < 200
    assert len({t.ms // 60_000 for t in day["KRW-ARDR"]}) < 720


def test_ids_are_unique_beyond_2_53_and_their_time(day: dict[str, list[Trade]]) -> None:
    for trades in day.values():
        ids = [trade.id for trade in trades]
        assert ids == sorted(set(ids))
        assert ids[0] > 2**53
        assert all(trade.id // 10_000 == trade.ms < trade.wire_ms < trade.ms + 2_000 for trade in trades)


def test_prices_lie_on_the_grid_and_are_not_absurd(hidden: HiddenMarket, day: dict[str, list[Trade]]) -> None:
    for code, trades in day.items():
        market = MARKETS[code]
        for trade in trades[::10]:
            assert trade.price > 0
            assert trade.size > 0
            mid = hidden.prices.mid_at(market, trade.ms)
            assert trade.price % min(tick_size(market.quote, mid), tick_size(market.quote, trade.price)) == 0
            room = market.spread * 3 + 8 * tick_size(market.quote, mid) / mid
            assert abs(trade.price / mid - 1) < room
        assert max(t.price for t in trades) < 1.5 * min(t.price for t in trades)


def test_the_coin_has_one_price_in_all_its_markets(hidden: HiddenMarket) -> None:
    at = START + 5 * 3_600_000
    won, dollar, rate = (hidden.prices.mid_at(MARKETS[c], at) / E8 for c in ("KRW-ETH", "USDT-ETH", "KRW-USDT"))
    assert won == pytest.approx(dollar * rate * (1 + hidden.prices.premium_at(at)))
    ether_in_btc = hidden.prices.mid_at(MARKETS["BTC-ETH"], at) / E8
    assert ether_in_btc == pytest.approx(won * E8 / hidden.prices.mid_at(MARKETS["KRW-BTC"], at))


def test_the_premium_moves_slowly(hidden: HiddenMarket) -> None:
    premiums = [hidden.prices.premium_at(START + minute * 60_000) for minute in range(1441)]
    assert max(abs(b - a) for a, b in pairwise(premiums)) < 0.0008
    assert 0.0005 < max(premiums) - min(premiums) < 0.02
    years = [hidden.prices.premium_at(START + day * DAY_MS) for day in range(-700, 700, 7)]
    assert -0.05 < min(years) < 0.02 < max(years) < 0.08


def test_one_market_halts_for_hours(hidden: HiddenMarket, day: dict[str, list[Trade]]) -> None:
    [halt] = hidden.plan.halts(START, END)
    assert 2 * 3_600_000 <= halt.until_ms - halt.at_ms <= 4 * 3_600_000
    assert not [t for t in day[halt.market] if halt.at_ms <= t.ms < halt.until_ms]
    assert [t for t in day[halt.market] if t.ms < halt.at_ms]
    assert [t for t in day[halt.market] if t.ms >= halt.until_ms]
    assert hidden.book(MARKETS[halt.market], halt.at_ms) == hidden.book(MARKETS[halt.market], halt.until_ms - 1)


def test_planted_price_spikes_show(hidden: HiddenMarket, day: dict[str, list[Trade]]) -> None:
    spikes = [a for a in hidden.plan.anomalies(START, END) if a.kind == "price" and a.market.startswith("KRW-")]
    assert len(spikes) == 5
    for spike in spikes:
        closes = minute_closes(day[spike.market])
        minute = spike.at_ms // 60_000
        before = [closes[m] for m in range(minute - 10, minute) if m in closes][-1]
        after = next(closes[m] for m in range(minute + 1, minute + 5) if m in closes)
        assert after / before - 1 == pytest.approx(spike.amplitude, abs=0.012)


def test_planted_volume_surges_show(hidden: HiddenMarket, day: dict[str, list[Trade]]) -> None:
    surges = [a for a in hidden.plan.anomalies(START, END) if a.kind == "volume"]
    assert len(surges) >= 3
    for surge in surges:
        per_minute = dict.fromkeys(range(START // 60_000, END // 60_000), 0)
        for trade in day[surge.market]:
            per_minute[trade.ms // 60_000] += trade.size
        inside = [v for m, v in per_minute.items() if surge.at_ms <= m * 60_000 < surge.until_ms]
        usual = sum(per_minute.values()) / 1440
        assert sum(inside) / len(inside) > usual * min(surge.amplitude / 3, 4)


def test_a_surge_in_one_coins_swaps_shows_on_every_exchange_that_lists_them(hidden: HiddenMarket) -> None:
    swaps = SWAPS | BINANCE_SWAPS
    surges = [a for a in hidden.plan.anomalies(START, END, swaps) if a.kind == "volume"]
    assert len(surges) == 2
    assert len({(surge.at_ms, surge.until_ms) for surge in surges}) == 1
    for surge in surges:
        tape = FillTape(7, hidden.prices, hidden.plan, swaps, 15_000)
        trades = tape.between(swaps[surge.market], START, END)
        inside = sum(t.size for t in trades if surge.at_ms <= t.ms < surge.until_ms)
        usual = sum(t.size for t in trades) * (surge.until_ms - surge.at_ms) / (END - START)
        assert inside > 4 * usual


def test_block_trades_are_worth_what_was_planned(hidden: HiddenMarket, day: dict[str, list[Trade]]) -> None:
    planned = sorted(hidden.plan.at(START).blocks)
    large = [t for t in day["KRW-BTC"] if t.price * t.size >= 300_000_000 * E16]
    assert [t.ms // 60_000 * 60_000 for t in large] == [block.at_ms for block in planned]
    for trade, block in zip(large, planned, strict=True):
        assert trade.price * trade.size / E16 == pytest.approx(block.won, rel=1e-6)
    assert not [t for code in ("USDT-BTC", "KRW-ETH") for t in day[code] if t.price * t.size >= 200_000_000 * E16]
    swap = SWAPS["BTC-USDT-SWAP"]
    tape = FillTape(7, hidden.prices, hidden.plan, SWAPS, 15_000)
    large = [t for t in tape.between(swap, START, END) if t.price * t.size >= 200_000 * E16]
    assert {t.ms // 60_000 * 60_000 for t in large} <= {block.at_ms for block in planned}
    assert large


def test_the_market_sleeps_at_four_in_the_morning(day: dict[str, list[Trade]]) -> None:
    by_hour = [0] * 24
    for trade in day["KRW-XRP"]:
        by_hour[(trade.ms // 3_600_000 + 9) % 24] += 1
    assert sum(by_hour[3:6]) * 1.5 < sum(by_hour[21:24])


@pytest.mark.parametrize("code", ["KRW-BTC", "KRW-STEEM", "BTC-XRP"])
def test_history_reaches_back_and_is_consistent(code: str) -> None:
    history = make(trades_per_day=20_000).history
    market = MARKETS[code]
    days = list(history.newest(market, DAY, NOW))
    assert len(days) == 132  # 130 before the UTC day in which it starts
    hours = list(history.newest(market, HOUR, NOW))
    assert len(hours) > 14 * 24 * 0.9
    rolled = {candle.start: candle for candle in roll_up(reversed(hours), DAY)}
    assert rolled
    assert all(rolled[candle.start] == candle for candle in days if candle.start in rolled)
    weeks = {candle.start: candle for candle in history.newest(market, WEEK, NOW)}
    whole = roll_up(reversed(days), WEEK)[1:]  # the first is cut off
    assert [weeks[candle.start] for candle in whole] == whole
    minutes = [c for c in history.newest(market, 60, NOW) if c.start >= hours[-1].start]
    assert roll_up(reversed(minutes), HOUR) == list(reversed(hours))


@pytest.mark.parametrize("code", list(MARKETS))
def test_history_looks_like_candles(code: str) -> None:
    history = make(trades_per_day=20_000).history
    days = list(history.newest(MARKETS[code], DAY, END // 1000))
    hours = list(history.newest(MARKETS[code], HOUR, END // 1000))
    for candle in days + hours:
        assert_plausible(candle)
    for newer, older in pairwise(days):
        step = tick_size(MARKETS[code].quote, older.close) / older.close
        assert newer.open / older.close == pytest.approx(1, abs=0.04 + 3 * step + 2 * MARKETS[code].spread)
    volumes = [candle.volume for candle in days]
    assert median(volumes[:7]) < 6 * median(volumes[30:]) < 60 * median(volumes[:7])


def assert_plausible(candle: Candle) -> None:
    assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
    assert candle.high < 1.6 * candle.low
    assert candle.low <= Decimal(candle.value) / candle.volume <= candle.high


def test_the_present_shows_only_what_is_published() -> None:
    now = [START + 1_800_000]
    hidden = HiddenMarket(7, START, lambda: now[0], trades_per_day=20_000, minute_days=14, day_days=130)
    market = MARKETS["KRW-BTC"]
    seen = hidden.history.trades(market, START, END)
    assert seen
    assert all(trade.wire_ms < now[0] for trade in seen)
    newest = next(hidden.history.newest(market, HOUR, END // 1000))
    assert newest.volume == sum(trade.size for trade in seen)
    now[0] += 600_000
    assert next(hidden.history.newest(market, HOUR, END // 1000)).volume > newest.volume
