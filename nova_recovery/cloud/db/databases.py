# SPDX-License-Identifier: Apache-2.0

"""All databases of the cloud: the API's, the cells', cinder's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
import dataclasses
from typing import TypeVar

from oslo_config import cfg

from nova_recovery.cloud.db import cells as cells_module
from nova_recovery.cloud.db import db_url
from nova_recovery.cloud.db.cells import Cell
from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.settings import CinderSettings, NovaSettings
from nova_recovery.compat import pairs
from nova_recovery.exceptions import ConfigError, DatabaseUnavailable, NotFound

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class CellDatabase:
    """A cell and its database, which bears the cell's name."""

    cell: Cell
    database: Database


class Databases:
    """The databases of one cloud.

    :param api: nova's API database; None where there is none
    :param cells: every enabled cell but cell0
    :param cinder: None where no cinder.conf was found
    :param disabled: cells that are not searched, to be named where
        something is not found
    """

    def __init__(
        self,
        api: Database | None,
        cells: Sequence[CellDatabase],
        cinder: Database | None = None,
        instance_name_template: str = 'instance-%08x',
        disabled: Sequence[Cell] = (),
    ) -> None:
        self.api = api
        self.cells = tuple(cells)
        self.cinder = cinder
        self.instance_name_template = instance_name_template
        self.disabled = tuple(disabled)

    def cell(self, name: str) -> Database:
        """Return the database of a cell.

        :raises NotFound: there is no such cell, or it is disabled
        """
        for known in self.cells:
            if known.cell.name == name:
                return known.database
        raise NotFound(
            f'no cell named {name}; known: '
            + (', '.join(c.cell.name for c in self.cells) or 'none')
        )

    def each_cell(
        self, ask: Callable[[Database], T]
    ) -> dict[str, T | DatabaseUnavailable]:
        """Ask every cell side by side; return the answers by cell name.

        A cell that is down answers with its ``DatabaseUnavailable``: unknown
        is a value, and the caller must say what it means.
        """
        return each([known.database for known in self.cells], ask)

    def dispose(self) -> None:
        """Close all connections."""
        for database in (self.api, self.cinder):
            if database is not None:
                database.dispose()
        for known in self.cells:
            known.database.dispose()


def each(
    databases: Sequence[Database], ask: Callable[[Database], T]
) -> dict[str, T | DatabaseUnavailable]:
    """Ask databases side by side; return the answers by their names."""

    def answer(database: Database) -> T | DatabaseUnavailable:
        try:
            return ask(database)
        except DatabaseUnavailable as error:
            return error

    if not databases:
        return {}
    with futures.ThreadPoolExecutor(min(16, len(databases))) as pool:
        answers = pool.map(answer, databases)
        return {
            database.name: found
            for database, found in pairs(databases, answers)
        }


def divide(
    answers: Mapping[str, T | DatabaseUnavailable],
) -> tuple[dict[str, T], dict[str, DatabaseUnavailable]]:
    """Return the answers of :func:`each`, the known and the unknown ones."""
    known: dict[str, T] = {}
    unknown: dict[str, DatabaseUnavailable] = {}
    for name, found in answers.items():
        if isinstance(found, DatabaseUnavailable):
            unknown[name] = found
        else:
            known[name] = found
    return known, unknown


def connect(
    conf: cfg.ConfigOpts,
    nova: NovaSettings,
    cinder: CinderSettings,
    looking: bool = False,
) -> Databases:
    """Find the databases of the cloud that the configuration leads to.

    The API database is asked for the cells. The others are connected to
    when they are needed.

    :param conf: ours, for the time-outs and ``[cells]``
    :param looking: see :class:`Database`
    :raises ConfigError: when it does not lead to any, or to some only
    :raises DatabaseUnavailable: when the API database does not answer
    """
    api = open_api(conf, nova, looking)
    found = find_cells(conf, nova, api)
    return Databases(
        api=api,
        cells=[
            CellDatabase(cell, opened(conf, cell.name, cell.url, looking))
            for cell in found
            if not cell.disabled
        ],
        cinder=open_cinder(conf, cinder, looking),
        instance_name_template=nova.instance_name_template,
        disabled=[cell for cell in found if cell.disabled],
    )


def open_api(
    conf: cfg.ConfigOpts, nova: NovaSettings, looking: bool = False
) -> Database | None:
    """Return nova's API database, None where there is none."""
    if not nova.api_database:
        return None
    return opened(conf, 'API', nova.api_database, looking)


def open_cinder(
    conf: cfg.ConfigOpts, cinder: CinderSettings, looking: bool = False
) -> Database | None:
    """Return cinder's database, None where no cinder.conf names one."""
    if not cinder.database:
        return None
    return opened(conf, 'cinder', cinder.database, looking)


def find_cells(
    conf: cfg.ConfigOpts, nova: NovaSettings, api: Database | None
) -> list[Cell]:
    """Return all cells but cell0, disabled ones too.

    :raises ConfigError: when the configuration does not lead to them
    :raises DatabaseUnavailable: when the API database does not answer
    """
    return [
        dataclasses.replace(
            cell,
            # nova/db/main/api.py: _get_db_conf, for every cell
            url=db_url.with_parameters(cell.url, nova.parameters),
        )
        for cell in _cells(conf, nova, api)
    ]


def _cells(
    conf: cfg.ConfigOpts, nova: NovaSettings, api: Database | None
) -> list[Cell]:
    listed = cells_module.listed_cells(conf.cells.connection)
    if api is not None:
        mapped = cells_module.load_cells(api, nova.database)
        return cells_module.with_urls_of(mapped, listed)
    if listed:
        return listed
    if not nova.files and not nova.database:
        raise ConfigError(
            'no nova.conf was found: give it with --nova-config-file'
        )
    if not nova.database:
        raise ConfigError(
            f'{", ".join(nova.files)} has neither [api_database] nor '
            f'[database] connection (nova-compute has none): give the '
            f'nova.conf of nova-api with --nova-config-file'
        )
    database = opened(
        conf,
        cells_module.SINGLE,
        db_url.with_parameters(nova.database, nova.parameters),
    )
    try:
        return [cells_module.single_cell(nova, database)]
    finally:
        database.dispose()


def opened(
    conf: cfg.ConfigOpts,
    name: str,
    url: str,
    looking: bool = False,
    answer: int | None = None,
) -> Database:
    """Return a database with the configured time-outs.

    :param answer: seconds that a single answer may take at most
    """
    seconds = conf.timeouts.database_read
    return Database(
        name,
        url,
        conf.timeouts.database_connect,
        seconds if answer is None else min(answer, seconds),
        looking,
    )
