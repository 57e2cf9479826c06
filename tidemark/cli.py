"""The command line: ``tidemark …``.

Lives here: one thin command a verb, and errors turned into one line for a person. Doesn't: work. Streaming and
alerts are started as modules of their own (``python -m streaming.producer``), so that this package never imports
them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tidemark import settings as config

app = typer.Typer(
    name="tidemark",
    help="A crypto market-data platform that can prove it lost nothing.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

#: The module has its own options, --help among them.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
#: Errors that are one line for a person, by name: a worker's image has not all of their modules.
_EXPECTED = {
    "tidemark.settings.SettingsError",
    "tidemark.local.process.LocalError",
    "tidemark.jobs.migrate.TopicsError",
    "tidemark.jobs.rebuild.RebuildError",
    "tidemark.jobs.replay_targets.ReplayError",
    "tidemark.lake.store.StoreError",
    "tidemark.jobs.backfill.BackfillError",
    "tidemark.transport.TransportError",
    "tidemark.warehouse.connection.WarehouseError",
    "tidemark.warehouse.lake_bars.LakeBarsError",
}
_NONE: list[str] = []
_DAY = ["%Y-%m-%d"]
_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
_Exchange = Annotated[str | None, typer.Option(help="One exchange; all that are carried when left out.")]
_Dataset = Annotated[str | None, typer.Option(help="One dataset, such as trade; all when left out.")]
_Codes = Annotated[list[str], typer.Option("--code", help="Market, such as KRW-BTC or BTC-KRW; may be given again.")]
_From = Annotated[datetime | None, typer.Option("--from", formats=_TIMES, help="A window from here, UTC,")]
_To = Annotated[datetime | None, typer.Option("--to", formats=_TIMES, help="until here, not included.")]
_DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check everything, show what would be asked and how long it takes; ask for the markets only."
    ),
]
_Logs = Annotated[str | None, typer.Argument(help="One service, such as sink; all of them when left out.")]


@app.command()
def up() -> None:
    """Start the whole platform on this machine, run yesterday through it and post the first report."""
    from tidemark.local import stack

    raise typer.Exit(stack.up(_settings()))


@app.command()
def down() -> None:
    """Stop everything that `up` started, and nothing else."""
    from tidemark.local import stack

    raise typer.Exit(stack.down(_settings()))


@app.command()
def status() -> None:
    """Show what runs, since when, and where to find it."""
    from tidemark.local import stack

    raise typer.Exit(stack.status(_settings()))


@app.command()
def logs(name: _Logs = None) -> None:
    """Follow the logs of the local stack."""
    from tidemark.local import stack

    raise typer.Exit(stack.logs(_settings(), name))


@app.command()
def docs() -> None:
    """Build dbt's documentation anew from the running warehouse."""
    from tidemark.local import stack

    raise typer.Exit(stack.docs(_settings()))


@app.command()
def migrate() -> None:
    """Bring the warehouse's schemas, roles and tables and the broker's topics up to date."""
    from tidemark.jobs import migrate as job

    print(job.run(_settings()))


@app.command()
def produce() -> None:
    """Carry frames from the exchanges' sockets to their topics, until stopped."""
    _become("streaming.producer")


@app.command()
def sink() -> None:
    """Carry records from the topics to typed Parquet in the lake, until stopped."""
    _become("streaming.consumer")


@app.command(context_settings=_PASS_ON)
def simulate(context: typer.Context) -> None:
    """Run a simulated exchange, or replay a recording, on the exchange's own protocol."""
    _become("tidemark.local.simulator", *context.args)


@app.command()
def replay(
    run: Annotated[str, typer.Argument(help="Name of the run: its topics are replay.<RUN>.raw.…")] = "",
    exchange: Annotated[str, typer.Option(help="Whose records.")] = "",
    day: Annotated[datetime | None, typer.Option(formats=_DAY, help="A whole UTC day.")] = None,
    start: Annotated[datetime | None, typer.Option("--from", formats=_TIMES, help="Or from here, UTC,")] = None,
    end: Annotated[datetime | None, typer.Option("--to", formats=_TIMES, help="until here, not included.")] = None,
    dataset: Annotated[list[str], typer.Option(help="May be given again; all when left out.")] = _NONE,
    market: Annotated[list[str], typer.Option(help="Such as BTC-KRW; as often as you like; else all.")] = _NONE,
    speed: Annotated[float | None, typer.Option(help="Times its own pace; else as fast as possible.")] = None,
    file: Annotated[Path | None, typer.Option(help="To this file (-: standard output) instead of topics.")] = None,
    form: Annotated[str, typer.Option("--format", help="ndjson, or capture (for `simulate --replay`).")] = "ndjson",
    lake: Annotated[str, typer.Option(help="Read from landing, or from the compacted hours.")] = "landing",
    drop: Annotated[bool, typer.Option("--drop", help="Delete the topics of this run instead.")] = False,
) -> None:
    """Play a part of the lake again, in the order it was received: to topics of its own, or to a file."""
    from tidemark.jobs import replay as job
    from tidemark.jobs import replay_targets

    settings = _settings()
    if drop:
        print(f"deleted: {', '.join(replay_targets.drop(settings.kafka, run))}")
        return
    order = job.order(exchange, day, start, end, dataset, market, lake, speed)
    summary = job.run(settings, run, order, file, form, show=lambda line: print(line, file=sys.stderr))
    print(summary, file=sys.stderr)


@app.command()
def repair(
    exchange: _Exchange = None,
    dataset: _Dataset = None,
    code: _Codes = _NONE,
    start: _From = None,
    end: _To = None,
    dry_run: _DryRun = False,
) -> None:
    """Ask the exchanges for what is missing: every open gap, or a window."""
    from tidemark.jobs import repair as job
    from tidemark.jobs.arguments import check_codes

    settings = _settings()
    with _refused():
        names = job.exchanges(settings, exchange)
        check_codes(code, exchange, names)
        for name in names:
            print(
                job.run(
                    settings,
                    name,
                    dataset=dataset,
                    codes=code,
                    window_start=_utc(start),
                    window_end=_utc(end),
                    dry_run=dry_run,
                    progress=_progress,
                )
            )


@app.command()
def backfill(
    exchange: Annotated[str, typer.Argument(help="Whose history, such as upbit.")],
    dataset: Annotated[str, typer.Argument(help="trade or candle.")],
    start: Annotated[datetime, typer.Option("--from", formats=_TIMES, help="From here, UTC,")],
    end: Annotated[datetime, typer.Option("--to", formats=_TIMES, help="until here, not included.")],
    code: _Codes = _NONE,
    interval: Annotated[list[str], typer.Option(help="Of candles, such as 1h; may be given again.")] = _NONE,
    dry_run: _DryRun = False,
) -> None:
    """Load the history of markets in bounded chunks; run again, it goes on where it stopped."""
    from tidemark.jobs import backfill as job
    from tidemark.jobs.repair import exchanges

    settings = _settings()
    with _refused():
        (name,) = exchanges(settings, exchange)
        window = (start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
        widths = interval or None
        print(job.run(settings, name, dataset, *window, code, widths, dry_run=dry_run, progress=_progress))


@app.command()
def validate(
    symbol: Annotated[str, typer.Option(help="Market, such as BTC-KRW, or the exchange's own code.")],
    start: Annotated[datetime, typer.Option("--from", formats=_TIMES, help="From here, UTC,")],
    end: Annotated[datetime, typer.Option("--to", formats=_TIMES, help="until here, not included.")],
    exchange: _Exchange = None,
) -> None:
    """Say whether a market's data of a window is whole and sound; ends with 1 where it isn't proven."""
    from tidemark.jobs import validate as job

    settings = _settings()
    with _refused():
        found = job.run(settings, symbol, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC), exchange)
    for one in found:
        print(one)
    if not all(one.proven for one in found):
        raise typer.Exit(1)


@app.command()
def rebuild(
    exchange: Annotated[str, typer.Argument(help="Whose bars, such as upbit.")],
    first: Annotated[datetime, typer.Option("--from", formats=_DAY, help="First UTC day.")],
    last: Annotated[datetime | None, typer.Option("--to", formats=_DAY, help="Last UTC day; else the same.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs; ends with 1 if it does.")] = False,
) -> None:
    """Hold gold's one-minute bars of whole days against the lake, and replace those that differ."""
    from tidemark.jobs import rebuild as job

    settings = _settings()
    with _refused():
        days = (first.date(), (last or first).date())
        summary = job.run(settings, exchange, *days, dry_run=dry_run, progress=_progress)
    print(summary)
    if summary.different and not summary.replaced:
        raise typer.Exit(1)


@app.command(context_settings=_PASS_ON)
def report(context: typer.Context) -> None:
    """Write and deliver the daily report of one KST date."""
    _become("alerts.report", *context.args)


def main() -> None:
    """Run the command line; an expected error is one line on stderr and exit code 2."""
    try:
        app()
    except Exception as error:
        kinds = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
        if not kinds & _EXPECTED:
            raise
        print(f"tidemark: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


@contextmanager
def _refused() -> Iterator[None]:
    """What a job refuses to be asked is a mistake on the command line."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _progress(number: int, of: int, what: str) -> None:
    print(f"{number} of {of}: {what}", file=sys.stderr)


def _settings() -> config.Settings:
    return config.load()


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by ``python -m module`` run from the project, so that signals reach it directly."""
    _settings()  # a malformed setting is reported here, in one line
    os.chdir(config.PROJECT_ROOT)
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell, fixed module


if __name__ == "__main__":
    main()
