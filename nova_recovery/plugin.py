# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


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
