"""What Java programs are given, and what is quoted of their failures."""

from __future__ import annotations

import sys

import pytest

from tidemark.local import process
from tidemark.local.kafka import cause

FORMAT = """\
Exception in thread "main" java.lang.IllegalArgumentException: can't use /data/me/?/data
\tat kafka.tools.StorageTool$.run(StorageTool.scala:120)
\tat kafka.tools.StorageTool.main(StorageTool.scala)
"""
MAVEN = """\
java.lang.reflect.InvocationTargetException
    at java.base/jdk.internal.reflect.NativeMethodAccessorImpl.invoke0(Native Method)
Caused by: java.lang.RuntimeException: can't be set up
    at org.codehaus.plexus.classworlds.launcher.Launcher.main(Launcher.java:347)
    ... 7 more
Caused by: java.nio.file.InvalidPathException: Malformed input: /data/me/?
    at java.base/sun.nio.fs.UnixPath.encode(UnixPath.java:121)
    ... 23 more
"""


@pytest.mark.parametrize(
    ("output", "quoted"),
    [
        (FORMAT, 'Exception in thread "main" java.lang.IllegalArgumentException: can\'t use /data/me/?/data'),
        (
            MAVEN,
            "java.nio.file.InvalidPathException: Malformed input: /data/me/?",
        ),
        ("starting\nit is full\n", "it is full"),
        ("", "no message"),
    ],
)
def test_the_cause_is_quoted_not_the_place(output: str, quoted: str) -> None:
    assert cause(output) == quoted


@pytest.mark.parametrize("locale", [{}, {"LANG": "C"}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LANG": "xx_YY.UTF-8"}])
def test_children_read_paths_as_utf8(monkeypatch: pytest.MonkeyPatch, locale: dict[str, str]) -> None:
    for name in ("LC_ALL", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    found = process.environment()
    assert sys.platform == "darwin" or found["LC_ALL"] == "C.UTF-8"
    assert process.environment({"LC_ALL": "C"})["LC_ALL"] == "C"
