"""Crafted Parquet files: what a footer or a page may say that no writer would.

Each case is a whole file, stamped for the key and generation that the torture program gives it, so
that checksum and stamp hold and only the readers stand between it and the caller. Written by hand
after the Parquet format (parquet.thrift) and Thrift's compact protocol.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "hostile"
GENERATION = 7
ROWS = 100

# --- Thrift's compact protocol: only what is written here -------------------------------------


@dataclass(frozen=True)
class Int:
    """An i32 (kind 5) or i64 (kind 6)."""

    value: int
    kind: int = 6


@dataclass(frozen=True)
class Many:
    """A list; `count` lies about its length where given."""

    items: list[Any]
    kind: int
    count: int | None = None


@dataclass(frozen=True)
class Fields:
    """A struct: values by field id, None left out."""

    by_id: dict[int, Any]


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _zigzag(number: int) -> bytes:
    return _varint(((number << 1) ^ (number >> 63)) & (2**64 - 1))


def _kind(value: Any) -> int:
    if isinstance(value, bool):
        return 1 if value else 2
    kinds = {Int: lambda: value.kind, bytes: lambda: 8, Many: lambda: 9, Fields: lambda: 12}
    return kinds[type(value)]()


def thrift(value: Any) -> bytes:
    """The bytes of a value."""
    if isinstance(value, Int):
        return _zigzag(value.value)
    if isinstance(value, bytes):
        return _varint(len(value)) + value
    if isinstance(value, Many):
        count = len(value.items) if value.count is None else value.count
        head = bytes([count << 4 | value.kind]) if count < 15 else bytes([0xF0 | value.kind])
        size = b"" if count < 15 else _varint(count)
        return head + size + b"".join(thrift(item) for item in value.items)
    out = b""
    last = 0
    for number, each in value.by_id.items():
        if each is None:
            continue
        delta = number - last
        short = 0 < delta < 16
        out += bytes([delta << 4 | _kind(each)] if short else [_kind(each)])
        out += b"" if short else _zigzag(number)
        out += b"" if isinstance(each, bool) else thrift(each)
        last = number
    return out + b"\0"


def i32(value: int) -> Int:
    """A 32-bit number."""
    return Int(value, 5)


# --- A file whose every statement can be replaced ------------------------------------------------

BOOLEAN, INT32, INT64, INT96, FLOAT, DOUBLE, BYTE_ARRAY, FIXED = range(8)
PLAIN, PLAIN_DICTIONARY, RLE, BIT_PACKED = 0, 2, 3, 4
DELTA, DELTA_LENGTH, DELTA_BYTES, RLE_DICTIONARY, SPLIT = 5, 6, 7, 8, 9
NONE, SNAPPY, GZIP = 0, 1, 2
VALUES = b"".join(struct.pack("<q", i * 3) for i in range(ROWS))


@dataclass(frozen=True)
class Page:
    """A page: its bytes and what its header says of them."""

    body: bytes = VALUES
    num_values: int = ROWS
    encoding: int = PLAIN
    kind: int = 0  # 0 data, 2 dictionary, 3 data of version 2
    compressed: int | None = None
    uncompressed: int | None = None
    v2: tuple[int, int, int, int, bool] = (0, ROWS, 0, 0, False)

    def data(self) -> bytes:
        size = len(self.body)
        levels = {3: i32(RLE), 4: i32(RLE)}
        head = Fields({1: i32(self.num_values), 2: i32(self.encoding), **levels})
        nulls, rows, definition, repetition, packed = self.v2
        second = Fields(
            {
                1: i32(self.num_values),
                2: i32(nulls),
                3: i32(rows),
                4: i32(self.encoding),
                5: i32(definition),
                6: i32(repetition),
                7: packed,
            }
        )
        header = Fields(
            {
                1: i32(self.kind),
                2: i32(size if self.uncompressed is None else self.uncompressed),
                3: i32(size if self.compressed is None else self.compressed),
                5: head if self.kind == 0 else None,
                7: Fields({1: head.by_id[1], 2: head.by_id[2]}) if self.kind == 2 else None,
                8: second if self.kind == 3 else None,
            }
        )
        return thrift(header) + self.body


@dataclass(frozen=True)
class Column:
    """A column chunk and its schema element."""

    name: bytes = b"c"
    type: int = INT64
    repetition: int = 0
    pages: tuple[Page, ...] = (Page(),)
    codec: int = NONE
    num_values: int = ROWS
    element: dict[int, Any] = field(default_factory=dict)
    chunk: dict[int, Any] = field(default_factory=dict)
    outer: dict[int, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """A file of one row group, unless `groups` says otherwise."""

    columns: tuple[Column, ...] = (Column(),)
    num_rows: int = ROWS
    group_rows: int | None = None
    schema: list[Fields] | None = None
    pairs: tuple[tuple[bytes, bytes], ...] = ()
    groups: int = 1
    footer: dict[int, Any] = field(default_factory=dict)

    def data(self) -> bytes:
        out = bytearray(b"PAR1")
        chunks = []
        elements = []
        for column in self.columns:
            begin = len(out)
            starts = {0: None, 2: None}
            for page in column.pages:
                kind = 2 if page.kind == 2 else 0
                if starts[kind] is None:
                    starts[kind] = Int(len(out))
                out += page.data()
            size = len(out) - begin
            about = {
                1: i32(column.type),
                2: Many([i32(page.encoding) for page in column.pages], 5),
                3: Many([column.name], 8),
                4: i32(column.codec),
                5: Int(column.num_values),
                6: Int(size),
                7: Int(size),
                9: starts[0] or Int(begin),
                11: starts[2],
            }
            about = dict(sorted({**about, **column.chunk}.items()))
            chunk = {2: Int(begin), 3: Fields(about), **column.outer}
            chunks.append(Fields(dict(sorted(chunk.items()))))
            element = {1: i32(column.type), 3: i32(column.repetition), 4: column.name}
            elements.append(Fields(dict(sorted({**element, **column.element}.items()))))
        root = Fields({4: b"schema", 5: i32(len(self.columns))})
        rows = self.num_rows if self.group_rows is None else self.group_rows
        group = Fields({1: Many(chunks, 12), 2: Int(len(out)), 3: Int(rows)})
        stamp = f"1\n{'0' * 32}\n{GENERATION}\n1\n1700000000\n{KEY}".encode()
        pairs = [*self.pairs, (b"barcache", stamp)]
        footer = {
            1: i32(1),
            2: Many(self.schema or [root, *elements], 12),
            3: Int(self.num_rows),
            4: Many([group] * self.groups, 12),
            5: Many([Fields({1: key, 2: value}) for key, value in pairs], 12),
        }
        return sealed(bytes(out), thrift(Fields(dict(sorted({**footer, **self.footer}.items())))))


def sealed(before: bytes, footer: bytes) -> bytes:
    """The end that every file has."""
    return before + footer + struct.pack("<I", len(footer)) + b"PAR1"


def one(column: Column, **file: Any) -> bytes:
    """A file of this column."""
    return File(columns=(column,), **file).data()


def paged(page: Page, **column: Any) -> bytes:
    """A file of a column of this page."""
    return one(Column(pages=(page,), **column))


# --- pieces of pages --------------------------------------------------------------------------


def run(value: int, count: int, width_bytes: int = 1) -> bytes:
    """A run of the RLE encoding."""
    return _varint(count << 1) + value.to_bytes(width_bytes, "little")


def levels(data: bytes) -> bytes:
    """Levels of a data page of version 1."""
    return struct.pack("<I", len(data)) + data


def text(value: bytes) -> bytes:
    """A PLAIN byte array."""
    return struct.pack("<I", len(value)) + value


def dictionary(values: list[bytes], count: int | None = None) -> Page:
    """A dictionary page of texts."""
    body = b"".join(text(value) for value in values)
    return Page(body, len(values) if count is None else count, PLAIN, kind=2)


def snappy_bomb(size: int) -> bytes:
    """One byte, copied until there are `size`."""
    out = _varint(size) + bytes([0]) + b"x"
    return out + bytes([63 << 2 | 2, 1, 0]) * ((size - 1) // 64)


EXTREMES = (-(2**63), -1, 0, 1, ROWS - 1, ROWS + 1, 2**31 - 1, 2**31, 2**40, 2**55, 2**63 - 1)
SMALL_EXTREMES = (-(2**31), -1, 0, 1, ROWS - 1, ROWS + 1, 2**30, 2**31 - 1)


def _counts() -> Iterator[tuple[str, bytes]]:
    for n in EXTREMES:
        yield f"rows of the file {n}", File(num_rows=n, group_rows=ROWS).data()
        yield f"rows of the group {n}", File(group_rows=n).data()
        both = Column(num_values=n, pages=(Page(num_values=max(min(n, 2**31 - 1), -1)),))
        yield f"rows everywhere {n}", one(both, num_rows=n)
        yield f"values of the chunk {n}", one(Column(num_values=n))
        yield f"data at {n}", one(Column(chunk={9: Int(n)}))
        yield f"dictionary at {n}", one(Column(chunk={11: Int(n)}))
        yield f"compressed chunk {n}", one(Column(chunk={7: Int(n)}))
        yield f"uncompressed chunk {n}", one(Column(chunk={6: Int(n)}))
    for n in SMALL_EXTREMES:
        yield f"values of the page {n}", paged(Page(num_values=n))
        yield f"compressed page {n}", paged(Page(compressed=n))
        yield f"uncompressed page {n}", paged(Page(uncompressed=n))
        snappy = Column(pages=(Page(body=b"\x04\x0cabcd", uncompressed=n),), codec=SNAPPY)
        yield f"snappy page {n}", one(snappy)
        second = Page(kind=3, v2=(n, ROWS, 0, 0, False))
        yield f"nulls of a second page {n}", paged(second)
        yield f"levels of a second page {n}", paged(replace(second, v2=(0, ROWS, n, n, False)))
    two = (Column(b"a"), Column(b"b", chunk={9: Int(4), 7: Int(2000), 6: Int(2000)}))
    yield "overlapping chunks", File(columns=two).data()


def _kinds() -> Iterator[tuple[str, bytes]]:
    for n in (*range(-1, 13), 99):
        yield f"encoding {n}", paged(Page(encoding=n))
        yield f"type {n}", one(Column(type=n))
        yield f"codec {n}", one(Column(codec=n))
        yield f"page kind {n}", paged(Page(kind=n))
        yield f"text in encoding {n}", paged(Page(encoding=n), type=BYTE_ARRAY)
    for n in (*range(-1, 23), 99):
        yield f"converted type {n}", one(Column(element={6: i32(n)}))
    for n in (-(2**31), -1, 0, 1, 7, 2**31 - 1):
        yield f"fixed width {n}", one(Column(type=FIXED, element={2: i32(n)}))
        yield f"repetition {n}", one(Column(repetition=n))
        for scale in (-1, 0, 39, 2**31 - 1):
            decimal = {6: i32(5), 7: i32(scale), 8: i32(n)}
            yield f"decimal({n}, {scale})", one(Column(element=decimal))
    for n in range(1, 17):
        yield f"logical type {n}", one(Column(element={10: Fields({n: Fields({})})}))


def _runs() -> Iterator[tuple[str, bytes]]:
    most = 2**31 - 1
    for kind, name in ((INT64, "numbers"), (BYTE_ARRAY, "texts"), (BOOLEAN, "flags")):
        page = Page(levels(run(0, most)), most)
        yield (
            f"a run of null {name}",
            one(Column(type=kind, repetition=1, pages=(page,), num_values=most), num_rows=most),
        )
    for width in (0, 1, 7, 31, 32, 33, 64, 255):
        for index in (0, 1, 2, 2**31 - 1):
            body = bytes([width]) + run(index & (2 ** min(width, 32) - 1), ROWS, (width + 7) // 8)
            pages = (dictionary([b"a", b"b"]), Page(body, ROWS, RLE_DICTIONARY))
            name = f"index {index} in {width} bits"
            yield name, one(Column(type=BYTE_ARRAY, pages=pages))
    packed = bytes([8, (ROWS + 7) // 8 << 1 | 1]) + b"\xff" * 104
    pages = (dictionary([b"a"]), Page(packed, ROWS, RLE_DICTIONARY))
    yield "packed indices beyond", one(Column(type=BYTE_ARRAY, pages=pages))
    yield "no dictionary", paged(Page(packed, ROWS, RLE_DICTIONARY), type=BYTE_ARRAY)
    yield "dictionary after data", one(Column(type=BYTE_ARRAY, pages=pages[::-1]))
    yield "two dictionaries", one(Column(type=BYTE_ARRAY, pages=(pages[0], *pages)))
    for count in (-1, 0, 2, 2**31 - 1):
        lying = (dictionary([b"a"], count), pages[1])
        yield f"dictionary of {count}", one(Column(type=BYTE_ARRAY, pages=lying))
    long = (dictionary([b"x" * 2**20]), Page(b"\0" + run(0, 4096, 0), 4096, RLE_DICTIONARY))
    yield (
        "a long text 4096 times",
        one(Column(type=BYTE_ARRAY, pages=long, num_values=4096), num_rows=4096),
    )
    numbers = Page(VALUES, ROWS, PLAIN, kind=2)
    million = (numbers, Page(b"\1" + run(0, most), most, RLE_DICTIONARY))
    yield "one number two billion times", one(Column(pages=million, num_values=most), num_rows=most)


def _bombs() -> Iterator[tuple[str, bytes]]:
    for megabytes in (1, 100, 400):
        size = megabytes << 20
        rows = size // 8
        bomb = snappy_bomb(size)
        page = Page(bomb, rows, uncompressed=min(size, 2**31 - 1))
        column = Column(pages=(page,), codec=SNAPPY, num_values=rows)
        yield f"snappy bomb of {megabytes} MB", one(column, num_rows=rows)
        squeezed = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = b"".join(squeezed.compress(b"\0" * 2**20) for _ in range(min(megabytes, 200)))
        page = Page(data + squeezed.flush(), rows, uncompressed=min(size, 2**31 - 1))
        column = Column(pages=(page,), codec=GZIP, num_values=rows)
        yield f"gzip bomb of {megabytes} MB", one(column, num_rows=rows)
    for claim in (0, 5, 2**31, 2**32 - 1, 2**40):
        page = Page(_varint(claim) + b"\0x\xfe\1\0", ROWS, uncompressed=ROWS * 8)
        yield f"snappy claims {claim}", one(Column(pages=(page,), codec=SNAPPY))
    heads = ((0, 1), (128, 0), (2**31, 4), (128, 2**31), (127, 4), (2**32 + 128, 4), (2**62, 2**30))
    for block, minis in heads:
        for total in (ROWS, 2**31, 2**62):
            body = _varint(block) + _varint(minis) + _varint(total) + _zigzag(5) + _zigzag(-(2**62))
            body += bytes([64, 255, 0, 32]) + VALUES
            name = f"differences {block} {minis} {total}"
            yield name, paged(Page(body, ROWS, DELTA))
    for encoding in (DELTA_LENGTH, DELTA_BYTES):
        growing = _varint(128) + _varint(4) + _varint(ROWS) + _zigzag(0) + _zigzag(2**24)
        body = (growing + bytes([0, 0, 0, 0])) * 2 + b"x" * ROWS
        yield f"growing texts {encoding}", paged(Page(body, ROWS, encoding), type=BYTE_ARRAY)
    for odd in (b"", b"x", VALUES[:-1], VALUES + b"x"):
        yield f"split page of {len(odd)}", paged(Page(odd, ROWS, SPLIT))
    yield "many tiny pages", one(Column(pages=(Page(b"\1" * 8, 1),) * 3000, num_values=3000))


def _texts() -> Iterator[tuple[str, bytes]]:
    bad = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"a\xe2\x82", b"\0")
    for value in bad:
        page = Page(text(value) * ROWS, ROWS)
        yield f"text {value!r}", paged(page, type=BYTE_ARRAY, element={6: i32(0)})
        yield f"a column named {value!r}", one(Column(name=value))
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 1000):
        page = Page(struct.pack("<I", size) + b"x" * 400, ROWS)
        yield f"a text of {size}", paged(page, type=BYTE_ARRAY, element={6: i32(0)})
    yield "an empty name", one(Column(name=b""))
    yield "a long name", one(Column(name=b"n" * 2**20))
    yield "one name twice", File(columns=(Column(), Column())).data()
    yield "a chunk of another name", one(Column(chunk={3: Many([b"other"], 8)}))
    yield "a chunk of a deep name", one(Column(chunk={3: Many([b"c"] * 10000, 8)}))
    yield "a chunk in another file", one(Column(outer={1: b"/etc/passwd"}))
    yield "an encrypted chunk", one(Column(outer={8: Fields({1: Fields({})}), 9: b"x" * 100}))
    yield "statistics that lie", one(Column(chunk={12: Fields({1: b"", 2: b"x", 3: Int(-5)})}))
    yield "an index outside", one(Column(outer={4: Int(2**62), 5: i32(-1), 6: Int(-1), 7: i32(9)}))
    yield "a bloom filter outside", one(Column(chunk={14: Int(2**62), 15: i32(2**31 - 1)}))


def _element(name: bytes, children: int | None, repetition: int = 1, kind: int = INT64) -> Fields:
    return Fields(
        {
            1: i32(kind) if children is None else None,
            3: i32(repetition),
            4: name,
            5: None if children is None else i32(children),
        }
    )


def _shapes() -> Iterator[tuple[str, bytes]]:
    for depth in (50, 500, 5000, 100_000):
        schema = [_element(b"g", 1) for _ in range(depth)]
        path = {3: Many([b"g"] * (depth - 1) + [b"c"], 8)}
        nested = [*schema, _element(b"c", None)]
        yield f"groups {depth} deep", one(Column(chunk=path), schema=nested)
        lists = [_element(b"l", 1, 2) for _ in range(depth)]
        yield f"lists {depth} deep", one(Column(chunk=path), schema=[*lists, _element(b"c", None)])
    for n in (-1, 0, 2, 1000, 2**31 - 1):
        root = Fields({4: b"schema", 5: i32(n)})
        yield f"{n} columns said", File(schema=[root, _element(b"c", None)]).data()
        group = [_element(b"schema", 1), _element(b"g", n), _element(b"c", None)]
        yield f"a group of {n}", File(schema=group).data()
    wide = tuple(Column(b"c%d" % i, pages=(Page(b"\1" * 8, 1),), num_values=1) for i in range(3000))
    yield "3000 columns", File(columns=wide, num_rows=1).data()
    many = [Fields({4: b"schema", 5: i32(100_000)})]
    many += [_element(b"c%d" % i, None) for i in range(100_000)]
    yield "100000 columns without data", File(schema=many).data()
    for n in (0, 2, 50_000):
        yield f"{n} row groups", File(groups=n).data()
    repeated = Page(levels(run(1, 2**31 - 1)) * 2, 2**31 - 1)
    yield (
        "a list of two billion",
        one(Column(repetition=2, pages=(repeated,), num_values=2**31 - 1), num_rows=1),
    )


def _footers() -> Iterator[tuple[str, bytes]]:
    good = File().data()
    size = struct.unpack("<I", good[-8:-4])[0]
    for n in (0, 1, size - 1, size + 1, len(good), 2**31, 2**32 - 1):
        yield f"a footer of {n}", good[:-8] + struct.pack("<I", n) + b"PAR1"
    yield "an encrypted footer", good[:-4] + b"PARE"
    yield "another beginning", b"XXXX" + good[4:]
    yield "two files in one", good + good
    for kind in range(16):
        yield f"a list of kind {kind}", File(footer={2: Many([], kind, 2**31 - 1)}).data()
        yield f"groups of kind {kind}", File(footer={4: Many([], kind, 2**62)}).data()
    deep = b"\x1c" * 200_000
    yield "structs without end", sealed(b"PAR1" + VALUES, deep)
    yield "lists without end", sealed(b"PAR1" + VALUES, b"\x19" * 200_000)
    yield "a number without end", sealed(b"PAR1" + VALUES, b"\x15" + b"\xff" * 1000)
    yield "nothing but nothing", sealed(b"PAR1", b"\0")


def _pairs() -> Iterator[tuple[str, bytes]]:
    schemas = {
        "not base64": b"!!!!",
        "empty": b"",
        "garbage": base64.b64encode(bytes(range(256)) * 8),
        "a long length": base64.b64encode(b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b"\0" * 64),
        "huge": base64.b64encode(b"\x10\0\0\0" * 2**18),
    }
    for name, value in schemas.items():
        yield f"an Arrow schema that is {name}", File(pairs=((b"ARROW:schema", value),)).data()
    stored = {
        "empty": b"",
        "another version": b"2;2:+s0:0;0;0;0;",
        "a negative size": b"1;-5:+s",
        "a huge size": b"1;99999999999999999999:+s",
        "a size beyond": b"1;4096:+s",
        "huge counts": b"1;2:+s0:0;99999999999;0;0;",
        "many children": b"1;2:+s0:0;0;2147483647;",
        "nested without end": b"1;" + b"2:+s0:0;0;1;" * 50_000,
        "dictionaries without end": b"1;" + b"1:l0:0;0;0;1;" * 50_000,
        "no struct": b"1;1:l1:c0;0;0;0;",
        "of other columns": b"1;2:+s0:0;0;1;1:l1:z0;0;0;0;0;",
        "an unknown format": b"1;2:+s0:0;0;1;3:zzz1:c0;0;0;0;0;",
        "an array of huge width": b"1;2:+s0:0;0;1;13:+w:99999999991:c0;0;1;1:l1:i0;0;0;0;0;0;",
        "a fixed width that is huge": b"1;2:+s0:0;0;1;12:w:21474836471:c0;0;0;0;0;",
        "nulls for numbers": b"1;2:+s0:0;0;1;1:n1:c0;0;0;0;0;",
        "a zone of bytes": b"1;2:+s0:0;0;1;8:tsu:\xff\xfe/x1:c0;0;0;0;0;",
        "texts for numbers": b"1;2:+s0:0;0;1;2:vu1:c0;0;0;0;0;",
    }
    for name, value in stored.items():
        yield f"a stored schema: {name}", File(pairs=((b"barcache.frame.schema", value),)).data()
    yield "a huge origin", File(pairs=((b"barcache.frame.origin", b"o" * 2**22),)).data()
    yield "a request of bytes", File(pairs=((b"barcache.request", b"\xff\0" * 999),)).data()
    yield "two stamps", File(pairs=((b"barcache", b"1\nx\n7\n1\n1\nother"),)).data()
    yield "a stamp of bytes", File(pairs=((b"barcache", b"\xff" * 5000),)).data()
    yield "100000 pairs", File(pairs=((b"k", b"v"),) * 100_000).data()


def cases() -> dict[str, bytes]:
    """All crafted files by what is wrong with them; the first is sound."""
    files = {"sound": File().data()}
    for group in (_counts, _kinds, _runs, _bombs, _texts, _shapes, _footers, _pairs):
        for name, data in group():
            assert name not in files, name
            files[name] = data
    return files
