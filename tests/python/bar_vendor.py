"""A source of bars for the tests of get_or_fetch, in any resolution and zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl


class Vendor:
    """Bars at every step of a grid, in a zone; counts its calls."""

    def __init__(self, every="1d", zone=None, symbol_column="symbol"):
        self.every, self.zone, self.symbol_column = every, zone, symbol_column
        self.calls = []
        self.error = None

    def times(self):
        start, end = datetime(2022, 12, 1), datetime(2023, 3, 1)
        return pl.datetime_range(start, end, self.every, time_zone=self.zone, eager=True)

    def bars(self, symbols):
        times = self.times()
        frames = []
        for symbol in symbols:
            columns = {"timestamp": times}
            if self.symbol_column:
                columns[self.symbol_column] = [symbol] * len(times)
            frames.append(pl.DataFrame(columns).with_row_index("close"))
        return pl.concat(frames)

    def __call__(self, symbols, start, end, _resolution):
        self.calls.append((tuple(symbols), start, end))
        if self.error is not None:
            raise self.error
        zone = UTC if self.zone is None else ZoneInfo(self.zone)
        first = moment(start, zone, last=False).astimezone(zone)
        last = moment(end, zone, last=True).astimezone(zone)
        time = pl.col("timestamp")
        if self.zone is None:
            time = time.dt.replace_time_zone("UTC")
        return self.bars(symbols).filter(time >= first, time <= last)


def moment(end, zone, *, last):
    if isinstance(end, str):
        end = date.fromisoformat(end) if len(end) == 10 else datetime.fromisoformat(end)
    if isinstance(end, datetime):
        return end if end.tzinfo else end.replace(tzinfo=zone)
    day = datetime(end.year, end.month, end.day, tzinfo=zone)
    return day + timedelta(days=1, microseconds=-1) if last else day
