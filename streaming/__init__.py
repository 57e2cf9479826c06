"""Streaming: sockets to topics (``producer``), topics to the lake (``consumer``). Run with ``python -m``."""
