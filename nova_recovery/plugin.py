# SPDX-License-Identifier: Apache-2.0

"""The plugin of the unified client: ``openstack recovery ...``.

Every call of ``openstack`` imports this module, so it imports nothing itself.
The names are those that python-openstackclient asks a plugin for
(``openstackclient/common/clientmanager.py``, ``get_plugin_modules``).
"""

from __future__ import annotations

import argparse
from typing import Any

API_NAME = 'recovery'
API_VERSION_OPTION = 'os_recovery_api_version'
API_VERSIONS = {'1': 'nova_recovery.cli'}
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> None:
    """Return None: there is no recovery service to be a client of.

    The commands use the databases and the other services' APIs themselves.
    """
    return None


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Return `parser` unchanged: our options belong to the commands.

    A global option is taken out of the line before the command sees it, with
    all its abbreviations, so each one we added would be a trap.
    """
    return parser
