# SPDX-License-Identifier: Apache-2.0

"""All commands on one page: what each does, and where its own page is.

Each line has the anchor that the command had when all were on that page.
"""

from __future__ import annotations

from typing import Any

from cliff.commandmanager import CommandManager
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx import addnodes


def page(name: str) -> str:
    """The page of ``recovery host recover`` is ``host-recover``."""
    return name.removeprefix('recovery ').replace(' ', '-')


class Commands(Directive):
    """``.. commands:: openstack.recovery.v1``"""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        manager = CommandManager(self.arguments[0])
        listed = nodes.definition_list()
        for name in sorted(manager.commands):
            if name != 'recovery':
                command, _, _ = manager.find_command(name.split())
                listed += self._item(name, command)
        return [listed]

    def _item(self, name: str, command: Any) -> nodes.Node:
        link = addnodes.pending_xref(
            '',
            nodes.literal(text=name),
            refdomain='std',
            reftype='doc',
            reftarget=page(name),
            refexplicit=True,
            refwarn=True,
            refdoc=self.state.document.settings.env.docname,
        )
        first = command.__doc__.strip().splitlines()[0]
        return nodes.definition_list_item(
            '',
            nodes.term('', '', link, ids=[nodes.make_id(name)]),
            nodes.definition('', nodes.paragraph(text=first)),
        )


def setup(app: Any) -> dict[str, Any]:
    app.add_directive('commands', Commands)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
