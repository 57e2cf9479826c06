"""The benchmarks' exchange: a socket that sends trades as fast as they are read, or so many a second.

Lives here: the server, a process of its own, and starting it. Doesn't: reading what it sends.

Frames are made before and sent as they are, so that the source is never what is measured. With a pace each frame ends
with the time at which it was sent, as ``"sent":<Unix ns>``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from tests.bench import frames

_RING = 2_000
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@contextmanager
def source(count: int, pace: int = 0) -> Iterator[str]:
    """A source of ``count`` frames for each connection; its URL."""
    command = [sys.executable, "-m", "tests.bench.socket_source", str(count), str(pace)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


async def _serve(count: int, pace: int) -> None:
    messages = [frame for _, frame in frames.trades(_RING)]

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _upgrade(reader, writer)
            await asyncio.sleep(1)  # the client's connection to the broker shall stand by then
            await (_paced(writer, messages, count, pace) if pace else _flat_out(writer, messages, count))
            while await reader.read(65_536):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take a WebSocket, and wait until it has asked for something."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    writer.write(b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    await reader.readexactly(2)


async def _flat_out(writer: asyncio.StreamWriter, messages: list[bytes], count: int) -> None:
    part = 200
    ring = [b"".join(_framed(m) for m in messages[at : at + part]) for at in range(0, _RING, part)]
    for number in range(count // part):
        writer.write(ring[number % len(ring)])
        await writer.drain()


async def _paced(writer: asyncio.StreamWriter, messages: list[bytes], count: int, pace: int) -> None:
    """As exchanges send: a few at a time, at moments that are not a clock's."""
    dice = random.Random(1)
    sent, start = 0, time.perf_counter()
    while sent < count:
        await asyncio.sleep(dice.expovariate(1 / 0.001))
        due = min(int((time.perf_counter() - start) * pace), count)
        for number in range(sent, due):
            frame = messages[number % _RING]
            writer.write(_framed(b'%s,"sent":%d}' % (frame[:-1], time.time_ns())))
        sent = due


def _framed(payload: bytes) -> bytes:
    size = len(payload)
    return (bytes([0x82, size]) if size < 126 else bytes([0x82, 126]) + struct.pack("!H", size)) + payload


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
