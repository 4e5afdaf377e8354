# SPDX-License-Identifier: Apache-2.0

"""What the journal costs, on this machine, in seconds and ratios."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pathlib
import secrets
import tempfile
import time
from typing import Any

from nova_recovery.changes.base import BaseChange
from nova_recovery.engine.change import At, Observed
from nova_recovery.engine.journal import Journal
from nova_recovery.engine.plan import Item, Plan, Step
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner


class NoOp(BaseChange):
    """Does nothing, with a before-image of 2 KB."""

    kind = 'no-op'
    image = {'row': secrets.token_hex(1000)}

    def observe(self, at: At[Any]) -> Observed:
        return Observed.before(self.image)

    def apply(self, at: At[Any]) -> str:
        return 'nothing'

    def revert(self, at: At[Any]) -> str:
        return 'nothing'


def plan_of(count: int) -> Plan:
    items = tuple(
        Item(f'no-op:{n}', 'no-op', f'server:{n}', f'server-{n}', {'host': n})
        for n in range(count)
    )
    return Plan('bench', 'Nothing, often', {}, (Step('one', 'One', items),))


def fsyncs(directory: pathlib.Path, seconds: float = 1.0) -> float:
    """How many 4 KB writes with fsync a second the disk takes."""
    count, began = 0, time.perf_counter()
    with open(directory / 'fsync', 'wb', buffering=0) as file:
        while time.perf_counter() - began < seconds:
            file.write(b'x' * 4096)
            os.fdatasync(file.fileno())
            count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m tests.bench.journal')
    parser.add_argument('--items', type=int, default=10_000)
    parser.add_argument('--workers', type=int, default=16)
    parser.add_argument('--connection', help='default: a new SQLite file')
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=pathlib.Path.cwd()) as name:
        directory = pathlib.Path(name)
        rate = fsyncs(directory)
        url = parsed.connection or f'sqlite:///{directory}/journal.sqlite'
        with contextlib.closing(Journal.open(url)) as journal:
            seconds = measure(journal, parsed.items, parsed.workers)
    one_by_one = 2 * parsed.items / rate
    print(f'disk                  {rate:8.0f} fsyncs a second')
    for what, taken in seconds.items():
        print(
            f'{what:21} {taken:8.2f} s  '
            f'{parsed.items / taken:8.0f} items a second  '
            f'{taken / one_by_one:5.2f} of an fsync for each record'
        )


def measure(journal: Journal, count: int, workers: int) -> dict[str, float]:
    seconds = {}
    began = time.perf_counter()
    run_id = journal.create_run(
        plan_of(count), who='bench', machine='here', command='bench'
    )
    seconds['write the plan down'] = time.perf_counter() - began
    one = Runner(
        journal,
        {NoOp.kind: NoOp()},
        None,
        reporter=PlainReporter(io.StringIO()),
        workers=workers,
    )
    began = time.perf_counter()
    outcome = one.carry_out(run_id)
    seconds['carry it out'] = time.perf_counter() - began
    assert outcome.counts == {'done': count}, outcome
    began = time.perf_counter()
    assert len(list(journal.items(run_id))) == count
    seconds['read it'] = time.perf_counter() - began
    return seconds


if __name__ == '__main__':
    main()
