# SPDX-License-Identifier: Apache-2.0

"""The one thread that writes the journal while a run is carried out.

A commit with fsync costs milliseconds, whatever is in it. So the workers
hand over what they want written, and one thread with one held connection
commits all that came in while the last commit was on its way. A worker
waits for what must be on disk before it goes on (its intent, its notes),
and never for the rest.
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any

from oslo_db import api as db_api
import sqlalchemy as sa

from nova_recovery.engine.journal import lease, location, models
from nova_recovery.engine.journal.lease import Holder
from nova_recovery.exceptions import JournalError, RunLocked

LOG = logging.getLogger(__name__)

#: Seconds to wait for a group to become whole. A tenth of what the quickest
#: answer of an API takes.
_LINGER = 0.002

_items = models.items


class Writer:
    """Writes the items of one run, in groups, as long as it is leased.

    A context manager: leaving it writes what is left.

    :param engine: of the journal
    :param run_id: the run, which *holder* holds
    """

    def __init__(
        self, engine: sa.engine.Engine, run_id: str, holder: Holder
    ) -> None:
        self._engine = engine
        self._run_id = run_id
        self._renewal = lease.renewal(engine.dialect.name, run_id, holder)
        self._connection: sa.engine.Connection | None = None
        self._wakeup = threading.Condition()
        self._waiting: dict[int, dict[str, Any]] = {}
        self._tickets: list[_Ticket] = []
        # how many waited last time, and for how many we wait now
        self._crowd = self._wanted = 0
        self._closing = False
        self._error: JournalError | None = None
        self._statements: dict[tuple[str, ...], sa.sql.Executable] = {}
        self._thread = threading.Thread(
            target=self._work, name='journal', daemon=True
        )

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._wakeup:
            self._closing = True
            self._wakeup.notify()
        self._thread.join()
        # what was under way has failed already with a reason of its own
        if kind is None and self._error:
            raise self._error

    def submit(self, number: int, **values: Any) -> None:
        """Write columns of an item soon.

        :raises JournalError: the journal can't be written any more
        """
        self._enqueue({number: values}, None)

    def flush(self) -> None:
        """Return when all that was submitted is on disk.

        :raises JournalError: it is not
        """
        self._await({})

    def write(self, number: int, **values: Any) -> None:
        """Write columns of an item; they are on disk when this returns.

        :raises JournalError: they are not
        """
        self._await({number: values})

    def _await(self, updates: dict[int, dict[str, Any]]) -> None:
        ticket = _Ticket()
        self._enqueue(updates, ticket)
        ticket.wait()
        if ticket.error:
            raise ticket.error

    def _enqueue(
        self, updates: dict[int, dict[str, Any]], ticket: _Ticket | None
    ) -> None:
        with self._wakeup:
            if self._error:
                raise self._error
            for number, values in updates.items():
                self._waiting.setdefault(number, {}).update(values)
            if ticket:
                self._tickets.append(ticket)
            if len(self._tickets) >= self._wanted:
                self._wakeup.notify()

    def _work(self) -> None:
        try:
            while self._write_next_group():
                pass
        finally:
            if self._connection is not None:
                self._connection.close()

    def _write_next_group(self) -> bool:
        """Write what has come in; False when it was the last."""
        with self._wakeup:
            if not (self._waiting or self._tickets or self._closing):
                # when nothing comes, the group only shows that we live
                self._wanted = 0
                self._wakeup.wait(lease.PERIOD)
            if len(self._tickets) < self._crowd and not self._closing:
                # those who were just released tend to be back at once
                self._wanted = self._crowd
                self._wakeup.wait(_LINGER)
            group, self._waiting = self._waiting, {}
            tickets, self._tickets = self._tickets, []
            last = self._closing
        if last and not group and not tickets:
            return False
        try:
            with location.reported(location.name(self._engine.url)):
                self._commit(group)
        except JournalError as error:
            return self._give_up(error, tickets)
        except Exception as error:
            LOG.exception('the writer of the journal failed')
            reason = f'journal: {type(error).__name__}: {error}'
            return self._give_up(JournalError(reason), tickets)
        with self._wakeup:
            self._crowd = len(tickets) + len(self._tickets)
        for ticket in tickets:
            ticket.settle(None)
        return not last

    def _give_up(self, error: JournalError, tickets: list[_Ticket]) -> bool:
        with self._wakeup:
            self._error = error
            tickets += self._tickets
        for ticket in tickets:
            ticket.settle(error)
        return False

    # Every statement says what a column shall be, so that the whole group
    # may be written again when it is unknown whether a COMMIT arrived.
    @db_api.wrap_db_retry(
        max_retries=5,
        retry_interval=0.5,
        max_retry_interval=5,
        retry_on_deadlock=True,
        retry_on_disconnect=True,
    )
    def _commit(self, group: dict[int, dict[str, Any]]) -> None:
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            with self._connection.begin():
                # a write comes first, which SQLite wants; and our right to
                if self._connection.execute(self._renewal).rowcount != 1:
                    raise RunLocked(
                        f'run {self._run_id} was taken over by somebody '
                        f'else while this process stood still'
                    )
                for columns, rows in _by_columns(group).items():
                    self._update(self._connection, columns, rows)
        except Exception:
            self._connection.close()
            self._connection = None
            raise

    def _update(
        self,
        connection: sa.engine.Connection,
        columns: tuple[str, ...],
        rows: list[dict[str, Any]],
    ) -> None:
        if columns not in self._statements:
            self._statements[columns] = self._statement(columns)
        updated = connection.execute(self._statements[columns], rows)
        if updated.rowcount != len(rows):
            raise JournalError(
                f'run {self._run_id}: the journal has other items than the '
                f'ones that are carried out'
            )

    def _statement(self, columns: tuple[str, ...]) -> sa.sql.Executable:
        statement = (
            sa.update(_items)
            .where(_items.c.run_id == self._run_id)
            .where(_items.c.number == sa.bindparam('_number'))
            .values({column: sa.bindparam(f'_{column}') for column in columns})
        )
        if 'image' in columns:
            # the first image is from before everything: it stays. The same
            # one may come twice, when a COMMIT was repeated.
            statement = statement.where(
                sa.or_(
                    _items.c.begun == sa.false(),
                    _items.c.image == sa.bindparam('_image'),
                )
            )
        return statement


class _Ticket:
    """What a worker waits for; a lock is cheaper than an Event."""

    def __init__(self) -> None:
        self.error: JournalError | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self) -> None:
        self._lock.acquire()

    def settle(self, error: JournalError | None) -> None:
        self.error = error
        self._lock.release()


def _by_columns(
    group: dict[int, dict[str, Any]],
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """One executemany for all items that get the same columns."""
    sets: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for number, values in group.items():
        row = {f'_{column}': value for column, value in values.items()}
        row['_number'] = number
        sets.setdefault(tuple(sorted(values)), []).append(row)
    return sets
