"""What the marts must say, computed another way: pandas, and formulas written out, over rows as they were sent.

Lives here: functions of plain series. Doesn't: SQL, or anything of ``tidemark``.
"""

from __future__ import annotations

import math

import pandas as pd


def rsi(close: pd.Series, length: int = 14) -> pd.Series:
    """Relative strength by Wilder's means (0 to 100)."""
    change = close.diff().dropna()
    gain = change.clip(lower=0).ewm(alpha=1 / length, adjust=True).mean()
    loss = (-change.clip(upper=0)).ewm(alpha=1 / length, adjust=True).mean()
    return 100 - 100 / (1 + gain / loss)


def bollinger(close: pd.Series, length: int = 20, width: float = 2) -> pd.DataFrame:
    """Middle, upper and lower band."""
    rolling = close.rolling(length)
    middle, spread = rolling.mean(), rolling.std(ddof=0)
    return pd.DataFrame({"middle": middle, "upper": middle + width * spread, "lower": middle - width * spread})


def macd(close: pd.Series) -> pd.DataFrame:
    """MACD of 12, 26 and 9, over the bars that have one before them."""
    followed = close.iloc[1:]
    line = followed.ewm(span=12, adjust=True).mean() - followed.ewm(span=26, adjust=True).mean()
    signal = line.ewm(span=9, adjust=True).mean()
    return pd.DataFrame({"macd": line, "signal": signal, "histogram": line - signal})


def atr(bars: pd.DataFrame, length: int = 14) -> pd.Series:
    """Average true range of bars with the columns high, low and close."""
    before = bars["close"].shift()
    ranges = [bars["high"] - bars["low"], (bars["high"] - before).abs(), (bars["low"] - before).abs()]
    return pd.concat(ranges, axis=1).max(axis=1).iloc[1:].ewm(alpha=1 / length, adjust=True).mean()


def parkinson(high: float, low: float) -> float:
    """Volatility of a day by its range."""
    return math.sqrt(math.log(high / low) ** 2 / (4 * math.log(2)))


def correlation(one: pd.Series, other: pd.Series, window: int = 168) -> pd.Series:
    """Rolling correlation of the log returns of two series of closes."""

    def returns(closes: pd.Series) -> pd.Series:
        return closes.map(math.log).diff()

    return returns(one).rolling(window, min_periods=24).corr(returns(other))
