# SPDX-License-Identifier: Apache-2.0

"""What goes into logs: nothing secret, and nothing that moves a cursor.

What of it goes to a terminal fits there, no word and no command divided.

The libraries that we use write whole answers of the APIs at DEBUG, with the
passwords of storage in them, and names that tenants chose.

What is on a terminal is gone with it. Where oslo.log's options name a place
(``log_file``, ``log_dir``, ``use_journal``, ``use_syslog``,
``log_config_append``), it is there too, as other services have it.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, TYPE_CHECKING

from nova_recovery import version
from nova_recovery.cloud import secrets
from nova_recovery.engine import files, printable
from nova_recovery.exceptions import ConfigError
from nova_recovery.report import wording

if TYPE_CHECKING:
    from oslo_config import cfg

#: In ``log_dir``, whichever of the two programs it is.
FILE = 'nova-recovery.log'
#: The handlers of those places, once they are there.
_placed: list[logging.Handler] = []

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
    """Lets through what is not of a library, and all if more was asked for.

    :param handler: of the screen; a log elsewhere may have more
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler

    def filter(self, record: logging.LogRecord) -> bool:
        if _is_verbose(self._handler):
            return True
        return not any(
            record.name == name or record.name.startswith(f'{name}.')
            for name in LIBRARIES
        )


def _is_verbose(handler: logging.Handler) -> bool:
    """Whether more was asked for on it than warnings."""
    return (handler.level or logging.getLogger().level) <= logging.INFO


class Masking(logging.Formatter):
    """What another formatter makes of a record, without secrets.

    :param handler: whose formatter it was; it may write to a terminal
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__()
        self._handler = handler
        self._inner = handler.formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        # with its traceback, if there is one
        text = printable.lines(secrets.mask_text(self._inner.format(record)))
        if _is_verbose(self._handler):
            return text
        return wording.fitted(text, getattr(self._handler, 'stream', None))


def mask_handlers() -> None:
    """Mask what the handlers of all loggers write, whoever made them."""
    for logger in (
        logging.getLogger(),
        *list(logging.Logger.manager.loggerDict.values()),
    ):
        # what is only a part of other names has none
        for handler in getattr(logger, 'handlers', ()):
            mask(handler)
            if getattr(handler, 'stream', None) is sys.stderr:
                quiet(handler)


def mask(handler: Any) -> None:
    """Mask what a handler writes. Twice does no harm."""
    if not isinstance(handler.formatter, Masking):
        handler.setFormatter(Masking(handler))


def quiet(handler: Any) -> None:
    """Keep the chatter of libraries off a screen. Twice does no harm."""
    if not any(isinstance(one, Ours) for one in handler.filters):
        handler.addFilter(Ours(handler))


def to_places(conf: cfg.ConfigOpts) -> None:
    """Log to the places that the configuration names, if it names any.

    The handlers that are there, the terminal's, stay as they are: oslo.log
    is made for services, and would put its own in their place.

    :raises RecoveryError: the file can't be opened
    :raises ConfigError: nor can another of the places be used
    """
    if conf.log_dir and not conf.log_file:
        conf.set_override('log_file', FILE)
    if not (
        conf.log_file
        or conf.use_journal
        or conf.use_syslog
        or conf.log_config_append
    ):
        return
    from oslo_log import log

    if conf.log_file:
        # oslo.log would make one that everybody may read
        files.append(os.path.join(conf.log_dir or '', conf.log_file)).close()
    root = logging.getLogger()
    for handler in _placed:
        root.removeHandler(handler)
    there = root.handlers[:]
    for handler in there:
        if handler.level == logging.NOTSET:
            handler.setLevel(root.level)
    try:
        log.setup(conf, 'nova-recovery', version.version())
    except Exception as error:  # of each place another one
        raise ConfigError(_unusable(error)) from error
    finally:
        # what went wrong is told on the terminal, too
        mask_handlers()
        _placed[:] = [one for one in root.handlers if one not in there]
        for handler in there:
            root.addHandler(handler)


def _unusable(error: Exception) -> str:
    """What is wrong with a place, and what to do."""
    text = ' '.join(str(error).split()) or type(error).__name__
    told = f'[DEFAULT] logging: {text}; '
    if 'ystemd bindings' in text:
        return told + (
            'use_journal needs them: install python3-systemd, or take '
            'use_syslog'
        )
    return told + (
        'mend log_file, log_dir, use_journal, use_syslog or '
        'log_config_append in nova-recovery.conf'
    )
