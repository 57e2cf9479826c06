"""``python -m alerts.report``: make and deliver one daily report.

Lives here: arguments and exit codes. Doesn't: the report (``command``).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import date

from alerts.report import command
from alerts.slack import SlackError
from tidemark import settings as config
from tidemark.warehouse.connection import WarehouseError


def main(arguments: Sequence[str] | None = None) -> int:
    """0: made (and posted, where Slack is set); 2: not, with one line on stderr that says why."""
    parser = argparse.ArgumentParser(
        prog="python -m alerts.report", description="Make and deliver the daily report, once."
    )
    parser.add_argument("--date", type=date.fromisoformat, help="KST date, YYYY-MM-DD; default: yesterday in Korea")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the report; store, post and ask the model nothing"
    )
    parser.add_argument("--wait", action="store_true", help="wait for complete coverage, as long as settings say")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = config.load()
        report_date = options.date or command.yesterday()
        if options.wait:
            command.wait_for_coverage(settings, report_date)
        result = command.run(settings, report_date, dry_run=options.dry_run)
    except (command.ReportError, SlackError, WarehouseError, config.SettingsError) as error:
        sys.stderr.write(f"report: {error}\n")
        return 2
    if result.delivery in ("no token", "dry run"):
        sys.stdout.write(f"{result.text}\n\n")
    sys.stdout.write(f"{result}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
