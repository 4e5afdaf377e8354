# SPDX-License-Identifier: Apache-2.0

"""The journal as the rest of the program sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
import contextlib
import dataclasses
import pathlib
import secrets
from typing import Any, TypeVar

from oslo_db import api as db_api
import sqlalchemy as sa

from nova_recovery import program
from nova_recovery.engine import records, states
from nova_recovery.engine.images import Images
from nova_recovery.engine.journal import export, lease, location, models, rows
from nova_recovery.engine.journal.lease import Holder
from nova_recovery.engine.journal.writer import Writer
from nova_recovery.engine.plan import Item, Plan
from nova_recovery.engine.records import EventRecord, ItemRecord, RunRecord
from nova_recovery.exceptions import Ambiguous, JournalError, NotFound, Refused

T = TypeVar('T')

_items = models.items
_runs = models.runs
_events = models.events


class Journal:
    """Runs, items and events, in SQLite or MySQL.

    All methods raise JournalError when the database refuses.

    :ivar images: the files of before-images
    """

    #: What writes the items of a run.
    writer_class = Writer

    def __init__(self, engine: sa.engine.Engine, images: str = '') -> None:
        self._engine = engine
        self.images = Images(location.images(engine.url, images))
        self.name = location.name(engine.url)

    @classmethod
    def open(cls, url: str, images: str = '') -> Journal:
        """The journal at a database URL, made and brought up to date.

        :param images: the folder for before-images in files; '' is beside it
        :raises JournalNewer: a newer version of this program wrote it
        """
        return cls(location.open_engine(url), images)

    @classmethod
    def open_existing(cls, url: str, images: str = '') -> Journal:
        """The journal at a database URL, to read what runs there are.

        :raises NotFound: nobody has made one yet
        """
        if not location.exists(url):
            place = location.name(sa.engine.make_url(url))
            raise NotFound(f'no runs: there is no journal {place}')
        return cls.open(url, images)

    def close(self) -> None:
        self._engine.dispose()

    # What can be read

    def runs(self, limit: int | None = None) -> list[RunRecord]:
        """The runs, newest first."""
        with self._read() as connection:
            query = (
                rows.run_query(connection)
                .order_by(_runs.c.created_at.desc(), _runs.c.id)
                .limit(limit)
            )
            found = connection.execute(query).all()
            counts = rows.counts_of(connection, [row.id for row in found])
        return [rows.run_record(row, counts[row.id]) for row in found]

    def run(self, prefix: str) -> RunRecord:
        """One run, by its id or the beginning of it.

        :raises NotFound:
        :raises Ambiguous: with the ids
        """
        with self._read() as connection:
            query = (
                rows.run_query(connection)
                .where(_runs.c.id.startswith(prefix.lower(), autoescape=True))
                .order_by(_runs.c.created_at)
            )
            found = connection.execute(query).all()
            if len(found) > 1:
                raise Ambiguous(
                    f'{prefix!r} is the beginning of several runs:',
                    [f'{row.id}  {row.title}' for row in found],
                )
            if not found:
                raise NotFound(
                    f'no run {prefix!r} in the journal {self.name}; see '
                    f'"{program.call("run list")}"'
                )
            run_id = found[0].id
            counts = rows.counts_of(connection, [run_id])
        return rows.run_record(found[0], counts[run_id])

    def plan(self, run_id: str) -> Plan:
        """The plan of a run, as it was approved."""
        items: dict[int, list[Item]] = {}
        query = sa.select(
            _items.c.number, _items.c.step, _items.c.id, _items.c.kind,
            _items.c.subject, _items.c.label, _items.c.data,
            _items.c.follows,
        ).where(_items.c.run_id == run_id)  # fmt: skip
        head = self._head(run_id)
        for row in rows.in_chunks(self._read, query):
            items.setdefault(row.step, []).append(rows.item_from(row))
        return rows.plan_from(head, items)

    def items(
        self,
        run_id: str,
        states: Collection[str] | None = None,
        step: int | None = None,
        subject: str | None = None,
    ) -> Iterator[ItemRecord]:
        """The items of a run, in the order of the plan.

        :param states: only those in one of these states
        :param step: only those of the step with this place in the plan
        :param subject: only those of this one
        """
        query = sa.select(_items).where(_items.c.run_id == run_id)
        if states is not None:
            query = query.where(_items.c.state.in_(states))
        if step is not None:
            query = query.where(_items.c.step == step)
        if subject is not None:
            query = query.where(_items.c.subject == subject)
        steps = [one['name'] for one in self._head(run_id)['steps']]
        for row in rows.in_chunks(self._read, query):
            yield rows.item_record(row, steps)

    def events(self, run_id: str) -> list[EventRecord]:
        """What happened to the run as a whole, oldest first."""
        query = sa.select(_events).where(_events.c.run_id == run_id)
        with self._read() as connection:
            found = connection.execute(query.order_by(_events.c.id)).all()
        return [
            EventRecord(r.at, r.kind, r.who, r.machine, r.detail)
            for r in found
        ]

    # What is written

    def create_run(
        self, plan: Plan, *, who: str, machine: str, command: str
    ) -> str:
        """Write a plan down as a run; return the id of the run."""
        ids = [item.id for item in plan.items()]
        if len(ids) != len(set(ids)):
            raise ValueError('two items of the plan have the same id')
        run_id = secrets.token_hex(4)
        row = {
            'id': run_id,
            'procedure': plan.procedure,
            'title': plan.title,
            'state': states.READY,
            'who': who,
            'machine': machine,
            'command': command,
            'digest': plan.digest,
            'created_at': records.now(),
            'started_at': '',
            'finished_at': '',
            'plan': records.pack(rows.plan_head(plan)),
            'holder': '',
            'heard': 0,
        }

        def create(connection: sa.engine.Connection) -> None:
            connection.execute(sa.insert(_runs).values(row))
            for chunk in rows.item_rows(run_id, plan):
                connection.execute(sa.insert(_items), chunk)
            event = _event('created', who, machine, command)
            rows.add_event(connection, run_id, event)

        self._write(create)
        return run_id

    @contextlib.contextmanager
    def carrying_out(self, run_id: str) -> Iterator[Writer]:
        """Hold a run, so that nobody else carries it out, and write its items.

        :raises RunLocked: naming the process that holds it
        """
        holder = Holder.mine()
        self._write(lambda c: lease.take(c, run_id, holder, self.name))
        try:
            with self.writer_class(self._engine, run_id, holder) as writer:
                yield writer
        finally:
            # a process that dies before this is known to be dead
            with contextlib.suppress(JournalError):
                self._write(lambda c: lease.give_back(c, run_id, holder))

    def set_run_state(
        self, run_id: str, state: str, event: str, detail: str = ''
    ) -> None:
        """Write the state of a run, and the event that brought it there."""
        values: dict[str, Any] = {'state': state}
        if state == states.RUNNING:
            first = sa.case(
                (_runs.c.started_at == '', records.now()),
                else_=_runs.c.started_at,
            )
            values.update(started_at=first, finished_at='')
        else:
            values['finished_at'] = records.now()

        def change(connection: sa.engine.Connection) -> None:
            connection.execute(
                sa.update(_runs).where(_runs.c.id == run_id).values(values)
            )
            row = self._row(connection, run_id)
            rows.add_event(
                connection, run_id, _event(event, row.who, row.machine, detail)
            )

        self._write(change)

    def skip(
        self, run_id: str, item_id: str, *, who: str, machine: str, reason: str
    ) -> None:
        """Leave an item out, so that later ones of its subject may go on.

        :raises NotFound:
        :raises Refused: it is over, or may be under way
        """
        self._decide(
            run_id,
            item_id,
            states.SKIPPABLE,
            {
                'state': states.SKIPPED,
                'detail': rows.clip(f'{reason} ({who})'),
                'finished_at': records.now(),
            },
            _event('skipped', who, machine, f'{item_id}: {reason}'),
        )

    def again(
        self, run_id: str, item_id: str, *, who: str, machine: str, reason: str
    ) -> None:
        """Let a request that is sent once begin anew.

        For the others it would lose the first before-image.

        This is an operator's word that it may be sent a second time; what
        the journal knows of the first time is in the event.

        :raises NotFound:
        :raises Refused: it is over, or under way
        """
        self._decide(
            run_id,
            item_id,
            states.BAD,
            {
                'state': states.PENDING,
                'begun': False,
                # for ``At.again``; the next intent clears it
                'notes': records.pack({'again': True}),
            },
            _event('again', who, machine, f'{item_id}: {reason}'),
        )

    def overridden(
        self, run_id: str, what: str, *, who: str, machine: str
    ) -> None:
        """Keep that a gate of what is left was overridden.

        :param what: which one, and why
        """
        self.tell(run_id, 'overridden', what, who=who, machine=machine)

    def tell(
        self, run_id: str, kind: str, what: str, *, who: str, machine: str
    ) -> None:
        """Keep something that happened to the run as a whole.

        :param kind: one word, at most 16 characters
        """
        event = _event(kind, who, machine, what)
        self._write(lambda c: rows.add_event(c, run_id, event))

    def _decide(
        self,
        run_id: str,
        item_id: str,
        allowed: frozenset[str],
        values: dict[str, Any],
        event: EventRecord,
    ) -> None:
        """What an operator decides about one item of a run at rest."""

        def change(connection: sa.engine.Connection) -> None:
            lease.claim(connection, run_id, self.name)
            row = connection.execute(
                sa.select(_items.c.number, _items.c.state, _items.c.detail)
                .where(_items.c.run_id == run_id)
                .where(_items.c.id == item_id)
            ).first()
            if row is None:
                raise NotFound(f'run {run_id} has no {item_id}')
            if row.state not in allowed:
                raise Refused(f'{item_id} is {row.state}')
            connection.execute(
                sa.update(_items)
                .where(_items.c.run_id == run_id)
                .where(_items.c.number == row.number)
                .values(values)
            )
            before = f'{event.detail} (was {row.state}: {row.detail})'
            rows.add_event(
                connection, run_id, dataclasses.replace(event, detail=before)
            )

        self._write(change)

    def take_over(
        self, run_id: str, *, who: str, machine: str, reason: str
    ) -> None:
        """Make a run somebody else's; its marker names them from now on.

        :raises RunLocked: it is carried out just now
        """

        def change(connection: sa.engine.Connection) -> None:
            lease.claim(connection, run_id, self.name)
            before = self._row(connection, run_id)
            connection.execute(
                sa.update(_runs)
                .where(_runs.c.id == run_id)
                .values(who=who, machine=machine)
            )
            detail = f'from {before.who}@{before.machine}: {reason}'
            event = _event('taken-over', who, machine, detail)
            rows.add_event(connection, run_id, event)

        self._write(change)

    def abandon(
        self, run_id: str, *, who: str, machine: str, reason: str
    ) -> None:
        """End a run where it is: whatever is not over is left out.

        What is known of each is in its detail, as of what is left out by
        hand.

        :raises RunLocked: it is carried out just now
        """
        detail = _items.c.detail

        def change(connection: sa.engine.Connection) -> None:
            lease.claim(connection, run_id, self.name)
            connection.execute(
                sa.update(_items)
                .where(_items.c.run_id == run_id)
                .where(_items.c.state.not_in(states.FINAL))
                .values(
                    detail=sa.func.substr(
                        sa.literal(f'abandoned by {who}: {reason}; was ')
                        .concat(_items.c.state)
                        .concat(sa.case((detail == '', ''), else_=': '))
                        .concat(detail),
                        1,
                        rows.LONGEST,
                    ),
                    state=states.SKIPPED,
                    finished_at=records.now(),
                )
            )
            connection.execute(
                sa.update(_runs)
                .where(_runs.c.id == run_id)
                .where(_runs.c.state != states.UNDONE)
                .values(state=states.PARTLY, finished_at=records.now())
            )
            event = _event('abandoned', who, machine, reason)
            rows.add_event(connection, run_id, event)

        self._write(change)

    def export(self, run_id: str, path: str | pathlib.Path) -> None:
        """Write all of a run to one new file, mode 0600.

        With its before-images, also those in files.

        :raises RunLocked: it is carried out just now: the copy would be
            an old one before it is read
        :raises JournalError: the file exists, or can't be written
        """
        with self._read() as connection, connection.begin():
            lease.check_free(connection, run_id)
            export.export(connection, run_id, pathlib.Path(path), self.images)

    def import_(self, path: str | pathlib.Path) -> str:
        """Take over a run from a file; return its id.

        :raises JournalError: the file is damaged or of a newer version, or
            the run is in this journal already
        """
        return self._write(
            lambda c: export.import_(
                c, pathlib.Path(path), self.name, self.images
            )
        )

    def _row(self, connection: sa.engine.Connection, run_id: str) -> Any:
        row = connection.execute(
            sa.select(_runs).where(_runs.c.id == run_id)
        ).first()
        if row is None:
            raise NotFound(f'no run {run_id!r} in the journal {self.name}')
        return row

    def _head(self, run_id: str) -> dict[str, Any]:
        with self._read() as connection:
            row = self._row(connection, run_id)
        head: dict[str, Any] = records.unpack(row.plan)
        return head

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.engine.Connection]:
        with location.reported(self.name):
            with self._engine.connect() as connection:
                yield connection

    def _write(self, change: Callable[[sa.engine.Connection], T]) -> T:
        """Run *change* in a transaction, again as a whole on a deadlock."""

        @db_api.wrap_db_retry(
            max_retries=5, retry_interval=0.5, retry_on_deadlock=True
        )
        def once() -> T:
            with self._engine.begin() as connection:
                return change(connection)

        with location.reported(self.name):
            return once()


def _event(kind: str, who: str, machine: str, detail: str) -> EventRecord:
    return EventRecord(records.now(), kind, who, machine, detail)
