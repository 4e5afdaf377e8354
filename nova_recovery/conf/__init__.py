# SPDX-License-Identifier: Apache-2.0

"""The options of nova-recovery.conf, one module per group."""

from __future__ import annotations

from collections.abc import Sequence
import os

from oslo_config import cfg

from nova_recovery.conf import (
    cells,
    default,
    disaster,
    drill,
    fencing,
    fleet,
    guests,
    journal,
    runner,
    snapshot,
    storage,
    timeouts,
)
from nova_recovery.conf.files import parse, value

PROJECT = 'nova-recovery'
VARIABLE = 'NOVA_RECOVERY_CONFIG_FILE'

_GROUPS = (
    default,
    cells,
    journal,
    runner,
    timeouts,
    fencing,
    storage,
    snapshot,
    guests,
    disaster,
    drill,
    fleet,
)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return all options by group, for oslo-config-generator."""
    return [(module.GROUP, list(module.OPTIONS)) for module in _GROUPS]


def load(
    files: Sequence[str] | None = None, dirs: Sequence[str] | None = None
) -> cfg.ConfigOpts:
    """Read nova-recovery.conf.

    :param files: what to read instead of the files, divided by colons, that
        ``NOVA_RECOVERY_CONFIG_FILE`` names; without it, ``nova-recovery.conf``
        in
        ``~/.nova-recovery``, ``~``, ``/etc/nova-recovery`` or ``/etc``,
        where no file at all is fine
    :param dirs: the same for ``nova-recovery.conf.d``; when files are given
        and this is not, no directory is read
    :raises ConfigError: a file can't be read, or an option is impossible
    """
    from oslo_log import log

    # The environment must not count: OS_DATABASE__CONNECTION and the like
    # are meant for the services.
    loaded = cfg.ConfigOpts()
    log.register_options(loaded)
    for group, options in list_opts():
        loaded.register_opts(
            options, group=None if group == default.GROUP else group
        )
    if files is None and os.environ.get(VARIABLE):
        files = os.environ[VARIABLE].split(':')
    if files is None:
        files = list(dict.fromkeys(cfg.find_config_files(PROJECT, PROJECT)))
        if dirs is None:
            dirs = list(dict.fromkeys(cfg.find_config_dirs(PROJECT, PROJECT)))
    parse(
        loaded,
        project=PROJECT,
        prog=PROJECT,
        default_config_files=list(files),
        default_config_dirs=list(dirs or ()),
        use_env=False,
    )
    for group, options in list_opts():
        for option in options:
            # now, not in the middle of a recovery
            value(loaded, option.dest, group)
    return loaded
