"""Logging of the workers: one JSON object a line on standard error, or in a file that is set aside when it is full.

Lives here: the set-up, once a process. Doesn't: what is logged. Use ``structlog.get_logger()`` and log an
event with fields; records of other libraries (standard ``logging``) come out in the same form.
"""

from __future__ import annotations

import json
import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Protocol, TextIO, cast

import structlog


class Logging(Protocol):
    """Where logs go (``tidemark.settings.LogSettings``)."""

    @property
    def file(self) -> str:
        """Path, ``{worker}`` in it standing for the worker's name; empty: standard error."""

    @property
    def max_bytes(self) -> int:
        """The largest that a file may grow."""

    @property
    def keep(self) -> int:
        """How many full ones are kept."""


def setup(worker: str, level: str = "INFO", to: Logging | None = None) -> None:
    """Log as JSON; each line has ``worker``, ``timestamp`` (UTC), ``level`` and ``event``.

    Raises:
        ValueError: there is no such level, or the file can't be written.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"no log level {level!r}; use DEBUG, INFO, WARNING or ERROR")
    out = _open(to, worker) if to is not None and to.file else cast("TextIO", _Unfailing(sys.stderr))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False, default=str)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(worker=worker)
    _adopt_standard_logging(shared, number, out)


class _Unfailing:
    """A text stream whose failures end nobody: on a full disk a worker loses lines of its log, not its work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost = 0

    def write(self, text: str) -> int:
        """Write the text; what can't be written is counted, and the number is logged once lines are written again."""
        try:
            if self._lost:
                self._stream.write(json.dumps({"event": "log_lines_lost", "count": self._lost}) + "\n")
                self._lost = 0
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._lost += 1
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


class _Rotating:
    """A text file of whole lines that is set aside, ``.1`` to ``.N``, before it grows too large."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")

    def write(self, text: str) -> int:
        """Write one line, whole, from whatever thread."""
        self._handler.handle(logging.makeLogRecord({"msg": text.removesuffix("\n")}))
        return len(text)

    def flush(self) -> None:
        """Nothing is held back: each line is flushed as it is written."""

    def close(self) -> None:
        """Close the file."""
        self._handler.close()


def _open(to: Logging, worker: str) -> TextIO:
    path = Path(to.file.replace("{worker}", worker))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return cast("TextIO", _Rotating(path, to.max_bytes, to.keep))
    except OSError as error:
        raise ValueError(f"the log file {path} can't be written: {error.strerror}; see TIDEMARK_LOG__FILE") from error


def _adopt_standard_logging(shared: list[structlog.typing.Processor], number: int, out: TextIO) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
