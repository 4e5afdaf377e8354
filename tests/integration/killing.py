# SPDX-License-Identifier: Apache-2.0

"""Processes that carry out a run on the practice cloud and are killed.

A crash matters only where something was just made durable: a commit of the
journal, a commit in a database of the cloud, a request that an API has
answered. Between two of these a process can't leave anything behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import signal
import socket
from typing import Any

import openstack

from nova_recovery import changes, conf, procedures
from nova_recovery.cli import stage
from nova_recovery.cloud.api import apis
from nova_recovery.cloud.cloud import Cloud
from nova_recovery.cloud.db import cas
from nova_recovery.cloud.db.database import Database
from nova_recovery.engine import journal as journal_module
from nova_recovery.engine import records
from nova_recovery.engine.progress import PlainReporter
from nova_recovery.engine.runner import Runner
from nova_recovery.exceptions import RecoveryError

_UUID = re.compile('[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')


@dataclasses.dataclass(frozen=True)
class Point:
    """Something that a process made durable.

    :ivar subject: as in the plan, or ``run``
    :ivar what: the same for all subjects of a kind
    """

    subject: str
    what: str
    died: bool = False


class Watch:
    """Notes each point in a file, and dies right after some of them.

    :param deadly: subject -> the points after which to die, each once in
        the life of the file
    :param number: the signal to die of, or to stand still by
    """

    def __init__(
        self,
        path: pathlib.Path,
        deadly: Mapping[str, set[str]] | None = None,
        number: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._path = path
        self._number = number
        self._deadly = deadly or {}
        self._dead = {
            (point.subject, point.what) for point in points(path) if point.died
        }
        self._kinds: dict[int, tuple[str, str]] = {}
        self._now = ('run', 'run')
        self._times: dict[str, int] = {}
        self._tables: list[str] = []

    def reached(self, what: str, now: tuple[str, str] | None = None) -> None:
        subject, kind = now or self._now
        what = f'{kind}: {_UUID.sub("", what)}'
        dies = self.is_deadly(subject, what)
        line = json.dumps([subject, what, dies]) + '\n'
        # one write with O_APPEND: there whatever comes after
        with open(self._path, 'ab', buffering=0) as file:
            file.write(line.encode())
        if dies:
            os.kill(os.getpid(), self._number)

    def is_deadly(self, subject: str, what: str) -> bool:
        """Whether to die now; asked once for each point that is reached."""
        return what in self._deadly.get(subject, ()) and (
            (subject, what) not in self._dead
        )

    # where the points are

    def install(self) -> None:
        """Watch what changes the cloud, in this process, for good."""
        # named as what is replaced
        really_sending, really_set = apis.sending, cas.update_one
        really_write = Database.write

        @contextlib.contextmanager
        def sending(what: str, service: str = '') -> Iterator[None]:
            with really_sending(what, service):
                yield
            self.reached(f'sent {what}')

        def update_one(
            connection: Any, table: Any, key: Any, seen: Any, values: Any
        ) -> Any:
            self._tables.append(f'{table.name}({",".join(sorted(values))})')
            return really_set(connection, table, key, seen, values)

        def write(self_: Database, work: Any) -> Any:
            self._tables.clear()
            result = really_write(self_, work)
            self.reached(f'committed {" ".join(self._tables)}')
            return result

        apis.sending = sending  # type: ignore[assignment]
        cas.update_one = update_one
        Database.write = write  # type: ignore[method-assign]

    def journal_class(self) -> type[journal_module.Journal]:
        """A journal that is watched, and writes each thing by itself."""
        watch = self

        class Writer(journal_module.Writer):
            # What the product only hands over is on disk when this
            # returns: else a point would be now here, now there.
            submit = journal_module.Writer.write

            def _commit(self, group: dict[int, dict[str, Any]]) -> None:
                watch.committing(group)
                super()._commit(group)
                watch.committed(group)

        class Journal(journal_module.Journal):
            writer_class = Writer

            def _write(self, change: Any) -> Any:
                result = super()._write(change)
                # holding and giving back a run look alike: count them
                name = change.__qualname__.split('.')[1]
                watch._times[name] = watch._times.get(name, 0) + 1
                watch._now = ('run', 'run')
                watch.reached(
                    f'journal {name} {watch._times[name]}', ('run', 'run')
                )
                return result

        return Journal

    def committing(self, group: dict[int, dict[str, Any]]) -> None:
        """Called before the journal has it; no point, unless overridden."""

    def committed(
        self, group: dict[int, dict[str, Any]], when: str = 'journal'
    ) -> None:
        for number, values in group.items():
            self._now = self._kinds[number]
            what = values.get('state', ','.join(values))
            if what == 'notes':
                # that it is about to be sent, and what was answered
                what = f'notes {",".join(records.unpack(values["notes"]))}'
            self.reached(f'{when} {what}', self._now)

    def learn(self, journal: journal_module.Journal, run_id: str) -> None:
        """Learn which items the run has."""
        for item in journal.items(run_id):
            self._kinds[item.number] = (item.subject, item.kind)


def points(path: pathlib.Path) -> list[Point]:
    """What was made durable, in order, by all who noted it in the file."""
    if not path.exists():
        return []
    return [Point(*json.loads(line)) for line in path.read_text().splitlines()]


def open_cloud(conf_file: pathlib.Path) -> Cloud:
    """The product's cloud, with the credentials of the environment."""
    return Cloud(conf.load(files=[str(conf_file)]), openstack.connect)


def create_run(url: str, plan: Any) -> str:
    """A run of this controller in a journal; its id."""
    with contextlib.closing(journal_module.Journal.open(url)) as journal:
        return journal.create_run(
            plan, who='anna', machine=socket.gethostname(), command='test'
        )


def carry_out(
    conf_file: pathlib.Path,
    run_id: str,
    workers: int,
    watch: Watch | None = None,
) -> int:
    """Carry out or go on with a run, in this process; the exit code."""
    where = open_cloud(conf_file)
    kind = journal_module.Journal
    if watch is not None:
        kind = watch.journal_class()
        watch.install()
    journal = kind.open(where.conf.journal.connection)
    if watch is not None:
        watch.learn(journal, run_id)
    plan = journal.plan(run_id)
    one = Runner(
        journal,
        changes.registry(),
        where,
        reporter=PlainReporter(io.StringIO()),
        workers=workers,
        guard=procedures.guard(plan, where, journal.run(run_id).marker),
        before=procedures.before(
            plan,
            where,
            lambda: stage.requests_of(journal, run_id),
            lambda: {i.id: i.state for i in journal.items(run_id)},
        ),
    )
    try:
        return one.carry_out(run_id).exit_code
    except RecoveryError as error:
        # as the commands do
        return error.exit_code
