# SPDX-License-Identifier: Apache-2.0

"""Which cells there are, as nova itself finds them."""

from __future__ import annotations

from collections.abc import Sequence
import dataclasses
import logging
import urllib.parse

import sqlalchemy as sa

from nova_recovery.cloud.db.database import Database
from nova_recovery.cloud.settings import NovaSettings
from nova_recovery.compat import pairs
from nova_recovery.exceptions import ConfigError, SchemaUnknown

LOG = logging.getLogger(__name__)

#: nova/objects/cell_mapping.py: CellMapping.CELL0_UUID
CELL0 = '00000000-0000-0000-0000-000000000000'

#: The only cell of a cloud from before there were cells.
SINGLE = 'nova'


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell, its URL already rendered.

    :ivar uuid: '' where no API database gives it one
    :ivar disabled: no new servers there (nova 18 and newer)
    """

    uuid: str
    name: str
    url: str = dataclasses.field(repr=False)
    disabled: bool = False


def enable(uuid: str) -> str:
    """The command that enables a cell (nova/cmd/manage.py)."""
    return f'nova-manage cell_v2 update_cell --cell_uuid {uuid} --enable'


def load_cells(api: Database, base: str | None) -> list[Cell]:
    """Return all cells but cell0, in nova's order, disabled ones too.

    cell0 holds servers that were never scheduled: nothing to recover.

    :param base: ``[database]connection``, to render templates from
    :raises DatabaseUnavailable: when the API database doesn't answer
    :raises SchemaUnknown: when it is no API database
    """
    table = api.tables['cell_mappings']
    # templates came with nova 18, together with the flag
    templates = 'disabled' in table.c
    with api.reader() as connection:
        rows = [
            dict(row)
            for row in connection.execute(
                sa.select(table).where(table.c.uuid != CELL0).order_by('id')
            ).mappings()
        ]
    names = _unique_names(rows)
    found = []
    for row in rows:
        url = str(row['database_connection'])
        found.append(
            Cell(
                uuid=row['uuid'],
                name=names[row['uuid']],
                url=render_url(url, base) if templates else url,
                disabled=bool(row.get('disabled')),
            )
        )
    return found


def listed_cells(connections: Sequence[str]) -> list[Cell]:
    """Return the cells of ``[cells]connection``: ``NAME=URL`` each.

    :raises ConfigError: one is no NAME=URL, or two have the same name
    """
    found: dict[str, Cell] = {}
    for number, text in enumerate(connections, 1):
        name, equals, url = text.partition('=')
        name = name.strip()
        if not equals or not name or '://' in name or '://' not in url:
            raise ConfigError(
                f'[cells] connection number {number} is not NAME=URL'
            )
        if name in found:
            raise ConfigError(f'[cells] connection has two cells named {name}')
        found[name] = Cell(uuid='', name=name, url=url.strip())
    return list(found.values())


def with_urls_of(mapped: Sequence[Cell], listed: Sequence[Cell]) -> list[Cell]:
    """Return the cells that nova maps, with our URLs where we have some.

    A URL that is written out in ``cell_mappings`` names nova's own user;
    ours may be one that has fewer rights. Which cells there are is nova's
    to say: a list would hide those that came later.

    :raises ConfigError: one of ours is no cell of nova's
    """
    urls = {cell.name: cell.url for cell in listed}
    unknown = sorted(set(urls) - {cell.name for cell in mapped})
    if unknown:
        raise ConfigError(
            f'[cells] connection: nova has no cell named '
            f'{", ".join(unknown)}; there are '
            + (', '.join(cell.name for cell in mapped) or 'none')
        )
    return [
        dataclasses.replace(cell, url=urls.get(cell.name, cell.url))
        for cell in mapped
    ]


def single_cell(nova: NovaSettings, database: Database) -> Cell:
    """Return the only cell of a cloud from before there were cells.

    Only its schema can tell: since Ocata each file of a service may have
    ``[database]`` for one cell of several (kolla's nova-conductor) or for
    cell0 (kolla's nova-api).

    :raises ConfigError: when there may be other cells
    """
    if database.tables.has('block_device_mapping', 'attachment_id'):
        raise ConfigError(
            f'{", ".join(nova.files) or "nova.conf"} has no [api_database], '
            f'so the cells are not known: its [database] may be cell0, or '
            f'one cell of several. Give the nova.conf of nova-api with '
            f'--nova-config-file, or list all cells as [cells] connection '
            f'in nova-recovery.conf'
        )
    if not database.tables.has('instances', 'uuid'):
        raise SchemaUnknown(
            f'the [database] of {", ".join(nova.files)} has no servers'
        )
    return Cell(uuid='', name=SINGLE, url=nova.database or '')


def render_url(url: str, base: str | None) -> str:
    """Fill a cell's URL template in, exactly as nova does it.

    nova/objects/cell_mapping.py: ``_format_url`` and ``_format_db_url``: the
    parts are put in raw, percent-encoding and all; what is missing becomes
    ``None``; braces that are no template must be doubled; when it fails, the
    URL is used as it is.

    :param base: ``[database]connection``
    """
    if base is None:
        return url
    try:
        return url.format(**_parts(base))
    except (LookupError, ValueError, AttributeError) as error:
        # not its text: it may quote the URL
        LOG.warning(
            'A cell URL could not be rendered (%s)', type(error).__name__
        )
        return url


def render_bus_url(url: str, base: str | None) -> str:
    """Fill the template of a cell's ``transport_url`` in, as nova does it.

    nova/objects/cell_mapping.py: ``_format_url``: where the base names
    several servers, their parts are numbered from 1.

    :param base: ``[DEFAULT]transport_url``
    """
    if base is None or '{' not in url:
        return url
    try:
        parts = _parts(base)
        netloc = urllib.parse.urlparse(base).netloc
        if ',' in netloc:
            for number, one in enumerate(netloc.split(','), 1):
                single = urllib.parse.urlparse(f'//{one}')
                for name in ('username', 'password', 'hostname', 'port'):
                    parts[f'{name}{number}'] = getattr(single, name)
        return url.format(**parts)
    except (LookupError, ValueError, AttributeError) as error:
        # not its text: it may quote the URL
        LOG.warning(
            'The transport URL of a cell could not be rendered (%s)',
            type(error).__name__,
        )
        return url


def _parts(base: str) -> dict[str, object]:
    parsed = urllib.parse.urlparse(base)
    parts: dict[str, object] = {
        'username': parsed.username,
        'password': parsed.password,
        'hostname': parsed.hostname,
        'port': parsed.port,
        'scheme': parsed.scheme,
        'query': parsed.query,
        'fragment': parsed.fragment,
        'path': parsed.path.lstrip('/'),
    }
    return parts


def _unique_names(rows: Sequence[dict[str, object]]) -> dict[object, str]:
    # cell_mappings.name may be empty, and is not unique: two cells must
    # not become one
    plain = [str(row['name'] or row['uuid']) for row in rows]
    return {
        row['uuid']: name
        if plain.count(name) == 1
        else f'{name}-{str(row["uuid"])[:8]}'
        for row, name in pairs(rows, plain)
    }
