"""Compares Parquet files with rows of the database, by two engines that are not ours: pyarrow and DuckDB.

Usage: judge.py FOLDER < rows, where each row is a line of CSV: microseconds, sequence, index, price, size, id, venue, symbol.
Prints the number of rows and the exact sums as JSON; exits with status 1 and the first difference.
"""

import csv
import json
import sys
from decimal import Decimal, getcontext
from pathlib import Path

import duckdb
import pyarrow.dataset
import pyarrow.parquet

getcontext().prec = 60
FOLDER = sys.argv[1]
COLUMNS = ["at", "sequence", "index", "price", "size", "id", "venue", "symbol"]


def fail(what):
    print(what, file=sys.stderr)
    sys.exit(1)


def number(text):
    return None if text == "" else Decimal(text)


def stored():
    for at, sequence, index, price, size, name, venue, symbol in csv.reader(sys.stdin):
        yield int(at), int(sequence), int(index), Decimal(price), number(size), name, venue, symbol


def by_pyarrow():
    table = pyarrow.dataset.dataset(FOLDER, partitioning="hive", exclude_invalid_files=False).to_table(columns=COLUMNS)
    table = table.sort_by([(name, "ascending") for name in ("venue", "symbol", "at", "sequence", "index")])
    columns = [table["at"].cast("int64").to_pylist()] + [table[name].to_pylist() for name in COLUMNS[1:]]
    return list(zip(*columns, strict=True))


def by_duckdb():
    query = f"""SELECT epoch_us("at"), "sequence", "index", price, size, id, venue, symbol
                FROM read_parquet('{FOLDER}/**/*.parquet', hive_partitioning = true)
                ORDER BY venue, symbol, "at", "sequence", "index" """
    return duckdb.connect().execute(query).fetchall()


def sums_by_duckdb():
    query = f"SELECT count(*), sum(price), sum(size) FROM read_parquet('{FOLDER}/**/*.parquet', hive_partitioning = true)"
    return duckdb.connect().execute(query).fetchone()


def check_layout():
    """Each file is sorted, has statistics and a page index, is compressed, and has exact decimals."""
    for file in Path(FOLDER).rglob("*.parquet"):
        metadata = pyarrow.parquet.read_metadata(file)
        schema = pyarrow.parquet.read_schema(file)
        if str(schema.field("price").type) != "decimal128(38, 18)" or str(schema.field("at").type) != "timestamp[us, tz=UTC]":
            fail(f"{file}: {schema}")
        for group in range(metadata.num_row_groups):
            group = metadata.row_group(group)
            names = [metadata.schema.column(column.column_index).name for column in group.sorting_columns]
            if names != ["at", "sequence", "index"]:
                fail(f"{file} is sorted by {names}")
            for index in range(group.num_columns):
                column = group.column(index)
                if not (column.is_stats_set and column.has_column_index and column.has_offset_index and column.compression == "ZSTD"):
                    fail(f"{file}: column {column.path_in_schema} lacks statistics, an index or compression")


def main():
    expected = sorted(stored(), key=lambda row: (row[6], row[7], row[0], row[1], row[2]))
    for engine, rows in (("pyarrow", by_pyarrow()), ("DuckDB", by_duckdb())):
        if len(rows) != len(expected):
            fail(f"{engine} finds {len(rows)} rows, the database has {len(expected)}")
        for found, wanted in zip(rows, expected, strict=True):
            if tuple(found) != wanted:
                fail(f"{engine} finds {found}, the database has {wanted}")
    check_layout()
    sums = [str(sum((row[column] or Decimal(0) for row in expected), Decimal(0))) for column in (3, 4)]
    rows, price, size = sums_by_duckdb()
    if (rows, price, size) != (len(expected), Decimal(sums[0]), Decimal(sums[1])):
        fail(f"DuckDB sums {rows}, {price}, {size}")
    print(json.dumps({"rows": rows, "price": str(price), "size": str(size)}))


main()
