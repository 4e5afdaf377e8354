# SPDX-License-Identifier: Apache-2.0

"""Who carries out a run just now.

The lease is a column of the run and is checked by every transaction of the
writer (``UPDATE runs … WHERE holder = mine`` is its first statement), so a
process which lost it can't journal an intent any more, and hence can't send.
MySQL's GET_LOCK would not do: it is known to one node of a Galera cluster
only.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import secrets
import socket
from typing import Any

import sqlalchemy as sa

from nova_recovery.engine.journal import models
from nova_recovery.exceptions import NotFound, RunLocked

_runs = models.runs

#: Seconds between two signs of life of an idle writer.
PERIOD = 10
#: Seconds of silence after which a holder elsewhere counts as gone.
PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Holder:
    """A process, known well enough to tell that it has ended.

    :ivar where: boot and process namespace: only where both are our own can
        its pid be looked up
    :ivar started: start of the process in ticks since boot, so that a later
        process with the same pid isn't taken for it
    :ivar token: tells two holds of the same process apart
    :ivar machine_id: of the installation; '' where it isn't known
    """

    machine: str
    pid: int
    started: str
    where: str
    token: str
    machine_id: str = ''

    @classmethod
    def mine(cls) -> Holder:
        pid = os.getpid()
        return cls(
            machine=socket.gethostname(),
            pid=pid,
            started=_start_time(pid) or '',
            where=_where(),
            token=secrets.token_hex(4),
            machine_id=_machine_id(),
        )

    @classmethod
    def parse(cls, text: str) -> Holder | None:
        """The holder in a column; None when nobody holds the run."""
        return cls(**json.loads(text)) if text else None

    def __str__(self) -> str:
        return f'pid {self.pid} on {self.machine}'

    def to_column(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    def lives(self, silence: int) -> bool:
        """Whether it must be taken for alive.

        :param silence: seconds since its last sign of life
        """
        if self.where == _where():
            return _start_time(self.pid) == self.started
        if self._ended_with_a_boot():
            return False
        return silence <= PATIENCE

    def _ended_with_a_boot(self) -> bool:
        """Whether it was of an earlier boot of this very machine.

        Its name alone could be another's, the id alone a clone's.
        """
        return (
            self.machine == socket.gethostname()
            and self.machine_id == _machine_id() != ''
            and self.where.split(' ')[0] != _where().split(' ')[0]
        )


def claim(connection: sa.engine.Connection, run_id: str, journal: str) -> None:
    """Lock the row of a run, which no living process must hold.

    :raises NotFound: no such run in the journal of that name
    :raises RunLocked: naming the holder
    """
    # the first statement of a transaction has to be a write
    locked = connection.execute(
        sa.update(_runs)
        .where(_runs.c.id == run_id)
        .values(heard=_runs.c.heard)
    )
    if locked.rowcount != 1:
        raise NotFound(f'no run {run_id!r} in the journal {journal}')
    check_free(connection, run_id)


def check_free(connection: sa.engine.Connection, run_id: str) -> None:
    """Refuse a run that a living process holds.

    :raises RunLocked: naming the holder
    """
    row = connection.execute(
        sa.select(
            _runs.c.holder,
            (clock(connection.dialect.name) - _runs.c.heard).label('silence'),
        ).where(_runs.c.id == run_id)
    ).one()
    holder = Holder.parse(row.holder)
    if holder and holder.lives(int(row.silence)):
        raise RunLocked(
            f'run {run_id} is carried out by {holder}, last heard of '
            f'{row.silence} s ago; a process on another machine counts as '
            f'gone after {PATIENCE} s of silence'
        )


def take(
    connection: sa.engine.Connection, run_id: str, holder: Holder, journal: str
) -> None:
    """Claim a run and hold it; raises as ``claim``."""
    claim(connection, run_id, journal)
    now = clock(connection.dialect.name)
    connection.execute(
        sa.update(_runs)
        .where(_runs.c.id == run_id)
        .values(holder=holder.to_column(), heard=now)
    )


def renewal(dialect: str, run_id: str, holder: Holder) -> sa.sql.Executable:
    """Shows that the holder lives; counts no row when it isn't any more."""
    return (
        sa.update(_runs)
        .where(_runs.c.id == run_id)
        .where(_runs.c.holder == holder.to_column())
        .values(heard=clock(dialect))
    )


def give_back(
    connection: sa.engine.Connection, run_id: str, holder: Holder
) -> None:
    """Hold a run no longer; nothing happens if it was lost before."""
    connection.execute(
        sa.update(_runs)
        .where(_runs.c.id == run_id)
        .where(_runs.c.holder == holder.to_column())
        .values(holder='')
    )


def correct_clock(engine: sa.engine.Engine) -> None:
    """Take back signs of life that are ahead of the clock.

    After a power loss it may have come up hours behind; a holder that died
    then would be heard of in the future, and taken for alive for as long.
    One that lives shows it again within ``PERIOD``.
    """
    now = clock(engine.dialect.name)
    ahead = sa.and_(_runs.c.holder != '', _runs.c.heard > now)
    with engine.connect() as connection:
        found = connection.execute(sa.select(_runs.c.id).where(ahead)).all()
    if not found:
        # nearly always, and a journal that is only read isn't written to
        return
    with engine.begin() as connection:
        connection.execute(sa.update(_runs).where(ahead).values(heard=now))


def clock(dialect: str) -> Any:
    """The clock of the database, in seconds, as an expression.

    It is the only one that all controllers share.
    """
    if dialect == 'sqlite':
        return sa.cast(sa.func.strftime('%s', 'now'), sa.BigInteger)
    return sa.func.unix_timestamp()


def _where() -> str:
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text()
    return f'{boot.strip()} {os.readlink("/proc/self/ns/pid")}'


def _machine_id() -> str:
    """See machine-id(5); '' where there is none."""
    try:
        return pathlib.Path('/etc/machine-id').read_text().strip()
    except OSError:
        return ''


def _start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat, see proc(5); None for the dead."""
    try:
        stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the name of the program, in brackets, may hold anything
    fields = stat.rpartition(')')[2].split()
    return None if fields[0] in 'ZX' else fields[19]
