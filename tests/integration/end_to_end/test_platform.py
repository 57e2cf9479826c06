"""`make up` on a machine of its own: what the simulator sent is what lies in the marts, the report is posted once, a
hole shows, and nothing is left running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from tests.cookbook import queries
from tests.integration.alerts.doubles import FakeSlack
from tests.integration.end_to_end.conftest import Platform, platform
from tidemark.exchanges import registry
from tidemark.jobs import completeness, rebuild
from tidemark.lake.store import open_store
from tidemark.local.day import Day, yesterday
from tidemark.settings import PROJECT_ROOT

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(1200)]

MARKETS = {"upbit": 20, "okx": 5, "binance": 5}
exchanges = pytest.mark.parametrize("exchange", MARKETS)
LAYERS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60, "4h": 240, "1d": 1440}
COLUMNS = ("open", "high", "low", "close", "volume_base", "volume_quote")
CANDLE = ("open", "high", "low", "close", "volume", "value")
#: Marts that not every exchange can have rows in, and who has.
OWN = {
    "suspect_premium_1m": set(),  # the simulated coins are what their names say
    "kimchi_premium_1m": {"upbit"},
    "book_depth_1h": {"upbit", "binance"},  # OKX's books are not subscribed
    "market_summary_5m": set(MARKETS),
    "price_anomaly_1m": {"upbit"},
}
SERVED = (
    "opening_price",
    "high_price",
    "low_price",
    "trade_price",
    "candle_acc_trade_volume",
    "candle_acc_trade_price",
)
#: One figure for all bars of the day: changes when any bar does.
DIGEST = """
select md5(string_agg(bar::text, '' order by market, bucket_at)) from gold.ohlcv_1m as bar
where bucket_at >= %s and bucket_at < %s
"""


@pytest.fixture(scope="module")
def up(state: Path, slack: FakeSlack) -> Iterator[Platform]:
    for one in platform(state, slack, memory=False, trades_per_day=40_000):
        assert one.tidemark("up").returncode == 0
        yield one


@pytest.fixture(scope="module")
def day() -> Day:
    return yesterday(datetime.now(UTC))


def test_every_mart_has_rows_of_every_exchange(up: Platform) -> None:
    query = "select table_name from information_schema.tables where table_schema = 'gold'"
    marts = [name for (name,) in up.rows(query)]
    assert len(marts) >= 25
    for mart in marts:
        of_mart = psycopg.sql.SQL("select distinct exchange from {}").format(psycopg.sql.Identifier("gold", mart))
        assert OWN.get(mart, set(MARKETS)) <= {exchange for (exchange,) in up.rows(of_mart)}, mart


def test_our_bars_are_the_exchanges_wherever_we_heard_the_whole_bar(up: Platform, day: Day) -> None:
    found = up.rows(
        """select exchange, interval, cause, count(*) from gold.ohlcv_reconciliation
        where bucket_at >= %s and bucket_at < %s - interval '1 hour' and interval in ('1m', '1h')
        group by 1, 2, 3""",
        day.begin,
        day.end,
    )
    assert {row[0] for row in found} == set(MARKETS)
    assert {row[2] for row in found} <= {"none", "began_within", "before_we_listened"}, found
    assert sum(row[3] for row in found if row[2] == "none") > 500


@pytest.mark.parametrize("number", range(1, 13))
def test_the_cookbooks_queries_answer(up: Platform, number: int) -> None:
    """As a reader of gold, as they stand."""
    assert len(queries()) == 12
    title, query = queries()[number - 1]
    assert up.rows(query.replace("%", "%%"), user="tidemark_gold_ro"), title


@exchanges
def test_the_lake_alone_gives_the_same_bars(up: Platform, day: Day, exchange: str) -> None:
    """Computed from Parquet by another engine; of the first of the day's two UTC dates, which is over in any case."""
    said = rebuild.run(up.settings, exchange, day.begin.date(), day.begin.date(), dry_run=True)
    assert said.bars > 100
    assert (said.different, said.undecided) == (0, ()), str(said)


@exchanges
def test_every_trade_sent_is_in_silver_once(up: Platform, day: Day, exchange: str) -> None:
    """Known by its id; Binance's by the number of the aggregate trade, which stands for several."""
    begin_ms, end_ms = (int(at.timestamp() * 1000) for at in (day.begin, day.end))
    markets = up.oracle("summary", exchange)
    assert len(markets) == MARKETS[exchange]
    name = "number" if exchange == "binance" else "id"
    for code in markets:
        sent = {
            (t[name], Decimal(t["price"]), Decimal(t["size"]), t["side"], t["ms"])
            for t in up.oracle("trades", exchange, market=code)
            if begin_ms <= t["ms"] < end_ms
        }
        silver = up.rows(
            """select trade_id, price, size, side, (extract(epoch from event_at) * 1000)::bigint
            from silver.trade where exchange = %s and code = %s and event_at >= %s and event_at < %s""",
            exchange,
            code,
            day.begin,
            day.end,
        )
        assert len(silver) == len(sent), code
        assert set(silver) == sent, code


def test_ids_of_swaps_have_no_hole(up: Platform, day: Day) -> None:
    """What a row stands for begins where the one before it ended."""
    query = """
        with trade as (
            select exchange, market, coalesce(first_trade_id, trade_id) as first,
                coalesce(last_trade_id, trade_id) as last
            from silver.trade where exchange <> 'upbit' and event_at >= %s and event_at < %s
        )
        select exchange, market, count(*), count(*) filter (where first <> before + 1), max(last - first)
        from (select *, lag(last) over (partition by exchange, market order by last) as before from trade) as trade
        group by 1, 2
    """
    found = up.rows(query, day.begin, day.end)
    assert len(found) == 10
    for exchange, market, rows, holes, longest in found:
        assert (holes, rows > 100, longest > 0) == (0, True, True), (exchange, market)


@exchanges
@pytest.mark.parametrize("layer", LAYERS)
def test_every_bar_is_the_exchanges_own_candle(up: Platform, day: Day, layer: str, exchange: str) -> None:
    """Bars within the day; one that reaches out of it may hold fetched trades too."""
    span = timedelta(minutes=LAYERS[layer])
    compared = 0
    for code in up.oracle("summary", exchange):
        oracle = {
            datetime.fromtimestamp(c["start"] / 1000, UTC): tuple(Decimal(c[name]) for name in CANDLE)
            for c in up.oracle("candles", exchange, market=code, unit=LAYERS[layer])
        }
        query = psycopg.sql.SQL("select bucket_at, {} from {} where exchange = %s and market = %s").format(
            psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, COLUMNS)),
            psycopg.sql.Identifier("gold", f"ohlcv_{layer}"),
        )
        bars = {row[0]: row[1:] for row in up.rows(query, exchange, registry.get(exchange).market(code))}
        inside = {at for at in oracle.keys() | bars.keys() if day.begin <= at and at + span <= day.end}
        for at in inside:
            assert bars[at] == oracle[at], (code, at)
        compared += len(inside)
    assert compared > 0 or layer == "1d", "a KST day holds no whole UTC day"


def test_the_daily_bar_is_the_exchanges_own(up: Platform, day: Day) -> None:
    """A UTC day that was sent whole, or of which the rest was fetched; else the bar is what was sent of it."""
    at = datetime(day.end.year, day.end.month, day.end.day, tzinfo=UTC) - timedelta(days=1)
    for code in up.oracle("summary"):
        sent = [c for c in up.oracle("candles", market=code, unit=1440) if c["start"] == at.timestamp() * 1000]
        served = up.exchange(f"candles/days?market={code}&to={at + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}&count=1")
        (bar,) = up.rows(
            "select open, high, low, close, volume_base, volume_quote from gold.ohlcv_1d "
            "where exchange = 'upbit' and market = %s and bucket_at = %s",
            "-".join(reversed(code.split("-"))),
            at,
        )
        of_exchange = [tuple(Decimal(c[name]) for name in SERVED) for c in served]
        assert bar in [tuple(Decimal(c[name]) for name in CANDLE) for c in sent] + of_exchange, code


def test_identities_are_computed_and_green(up: Platform, day: Day) -> None:
    found = set(up.rows("select distinct exchange, identity from ops.completeness"))
    assert found >= {(exchange, identity) for exchange in MARKETS for identity in range(6)}
    assert up.rows("select * from ops.completeness where status = 'red'") == []
    hours = up.rows(
        "select exchange, count(distinct hour_at) from ops.completeness where identity = 3 and dataset = 'trade' "
        "and status = 'green' and hour_at >= %s and hour_at < %s group by 1",
        day.begin,
        day.end,
    )
    assert dict(hours) == dict.fromkeys(MARKETS, 24)


def test_built_books_are_those_that_were_sent(up: Platform) -> None:
    """Books made of a snapshot and changes: the best levels at a number are those of the exchange."""
    compared = 0
    for code in up.oracle("summary", "binance"):
        sent = {row["id"]: row for row in up.oracle("books", "binance", market=code)}
        built = up.rows(
            "select update_id, best_bid_price, best_ask_price from silver.orderbook where exchange = 'binance' "
            "and code = %s and update_id is not null",
            code,
        )
        for number, bid, ask in built:
            if number in sent:
                compared += 1
                best = tuple(Decimal(sent[number][side]["price"]) for side in ("bid", "ask"))
                assert (bid, ask) == best, (code, number)
    assert compared > 100


def test_the_report_is_posted_once(up: Platform, slack: FakeSlack, day: Day) -> None:
    keys = slack.keys
    assert keys
    assert len(keys) == len(set(keys))
    assert all(str(day.date) in key for key in keys)


def test_readers_may_read_gold_and_nothing_else(up: Platform) -> None:
    assert len(up.rows("select * from gold.ohlcv_1h limit 5", user="tidemark_gold_ro")) == 5
    for forbidden in ("delete from gold.ohlcv_1h", "select * from silver.trade limit 1", "create table gold.x (y int)"):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)):
            up.rows(forbidden, user="tidemark_gold_ro")  # type: ignore[arg-type]


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_readmes_first_queries_answer(up: Platform, page: str) -> None:
    """As they are written, as the roles that the page names."""
    text = (PROJECT_ROOT / page).read_text("utf-8")
    (bars,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert up.rows(bars, user="tidemark_gold_ro"), page
    ((role, query),) = re.findall(r'psql postgresql://(\w+)@\S+ -c "([^"]+)"', text)
    up.rows(query, user=role)


def test_planted_anomalies_of_size_are_found(up: Platform, day: Day) -> None:
    planted = up.oracle("anomalies", **{"from": day.begin.isoformat(), "to": day.end.isoformat()})["anomalies"]
    assert planted
    found = up.rows(
        "select count(*) from gold.price_anomaly_1m where bucket_at >= %s and bucket_at < %s", day.begin, day.end
    )
    assert found[0][0] > 0


def test_a_deleted_object_turns_the_chain_red_and_a_deleted_row_the_counts(up: Platform) -> None:
    store = open_store(up.settings.lake)
    chains = up.rows(
        "select array_agg(path order by start_offset) from ops.load_ledger where kind = 'data' and dataset = 'trade' "
        "group by topic, partition order by count(*) desc limit 1"
    )[0][0]
    assert len(chains) >= 3
    window = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    end = window + timedelta(hours=4)
    for path in (chains[0], chains[len(chains) // 2], chains[-1]):
        kept = store.get(path)
        store.delete(path)
        found = completeness.run(up.settings, window, end)
        assert any(path.rpartition("/")[2] in problem or path in problem for problem in found.problems), found.problems
        assert store.put_new(path, kept)
    assert completeness.run(up.settings, window, end).red == 0
    with psycopg.connect(up.layout.postgres.url()) as connection:
        deleted = connection.execute("""
            delete from raw.trade_v1 where (load_id, kafka_topic, kafka_partition, kafka_offset, item) = (
                select load_id, kafka_topic, kafka_partition, kafka_offset, item from raw.trade_v1 limit 1
            ) returning load_id
        """).fetchall()
    assert len(deleted) == 1
    assert completeness.run(up.settings, window, end).red > 0
    ((detail,),) = up.rows("select detail::text from ops.completeness where status = 'red' and identity = 2")
    assert str(deleted[0][0]) in detail


def test_up_again_does_no_harm_and_down_leaves_nothing(up: Platform, slack: FakeSlack, day: Day) -> None:
    bars = up.rows(DIGEST, day.begin, day.end)
    posts = len(slack.keys)
    pids = up.services()
    assert len(pids) >= 10
    up.tidemark("up")
    assert up.services() == pids, "something that ran was started anew"
    assert up.rows(DIGEST, day.begin, day.end) == bars
    assert len(slack.keys) == posts
    assert up.tidemark("down").returncode == 0
    assert up.processes() == []
