# SPDX-License-Identifier: Apache-2.0

"""Small snapshots to test with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
import json
from typing import Any

from nova_recovery.snapshot import format as format_module
from nova_recovery.snapshot.writing import Writer

WEB = '3f57699a-e773-4650-a443-b4b37eed5a06'
DATABASE = '5f57699a-e773-4650-a443-b4b37eed5a06'
VOLUME = '39c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'
ROOT = '09c9a6f3-9a0c-4e2c-9f06-7b0c6d3f9cc2'

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def write(
    path: str,
    sections: Rows,
    source: str = 'cell:cell1',
    unknown: Sequence[str] = (),
    taken_at: str | None = None,
    cloud: Sequence[str] = (),
) -> str:
    """Write a snapshot of one source; columns that aren't given are None.

    :param unknown: sections that could not be read
    :param taken_at: when the source was read
    :param cloud: of which it is
    """
    with Writer(path) as writer:
        writer.meta(
            taken_at='2026-11-22T14:49:51Z', machine='control', program='1'
        )
        if cloud:
            writer.meta(cloud=json.dumps(list(cloud)))
        writer.source(source, source.partition(':')[0], taken_at=taken_at)
        for name, rows in sections.items():
            columns = format_module.SECTIONS[name].columns
            assert all(set(row) <= set(columns) for row in rows)
            writer.part(
                name,
                source,
                [tuple(row.get(c) for c in columns) for row in rows],
            )
        for name in unknown:
            writer.missing(name, source, format_module.UNKNOWN, 'it was down')
        writer.finish()
    return path
