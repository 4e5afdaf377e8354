# SPDX-License-Identifier: Apache-2.0

"""What goes into logs: nothing secret, and nothing that moves a cursor.

The libraries that we use write whole answers of the APIs at DEBUG, with the
passwords of storage in them, and names that tenants chose.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from nova_recovery.cloud import secrets
from nova_recovery.engine import printable

#: Libraries below us, whose warnings ("Connection pool is full", "Retrying
#: (Retry(total=2 …") are about themselves. What matters of them is raised,
#: and told in words of ours. ``-v`` and ``--debug`` show them.
LIBRARIES = (
    'amqp',
    'asyncio',
    'cinderclient',
    'keystoneauth',
    'keystoneauth1',
    'novaclient',
    'openstack',
    'oslo_config',
    'oslo_db',
    'paramiko',
    'py.warnings',
    'requests',
    'sqlalchemy',
    'stevedore',
    'urllib3',
)


class Ours(logging.Filter):
    """Lets through what is not of a library, and all if more was asked for."""

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger().isEnabledFor(logging.INFO):
            return True
        return not any(
            record.name == name or record.name.startswith(f'{name}.')
            for name in LIBRARIES
        )


class Masking(logging.Formatter):
    """What another formatter makes of a record, without secrets.

    :param inner: the other one
    """

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        # with its traceback, if there is one
        return printable.lines(secrets.mask_text(self._inner.format(record)))


def mask_handlers(logger: logging.Logger | None = None) -> None:
    """Mask what the handlers of a logger write, whoever made them.

    :param logger: the root when None
    """
    for handler in (logger or logging.getLogger()).handlers:
        mask(handler)
        if getattr(handler, 'stream', None) is sys.stderr:
            quiet(handler)


def mask(handler: Any) -> None:
    """Mask what a handler writes. Twice does no harm."""
    if not isinstance(handler.formatter, Masking):
        handler.setFormatter(Masking(handler.formatter))


def quiet(handler: Any) -> None:
    """Keep the chatter of libraries off a screen. Twice does no harm."""
    if not any(isinstance(one, Ours) for one in handler.filters):
        handler.addFilter(Ours())
