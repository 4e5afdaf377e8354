# SPDX-License-Identifier: Apache-2.0

"""Is in the documentation, as it was built, what the program points to?

``python tools/check_docs.py doc/build/html``: each code of a finding and each
gate has its line, which is what the program itself tells of it, each anchor of
the time when all commands were on one page still leads somewhere, and nothing
is loaded from elsewhere: it is read in the hour when there is no network.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
import pathlib
import re
import sys

from nova_recovery.compat import entry_points
from nova_recovery.engine import findings
from nova_recovery.procedures import gates

SOURCES = pathlib.Path(__file__).parents[1] / 'nova_recovery'
#: What "recovery guide CODE" tells, made of the pages by doc/ext/codes.py.
TOLD = SOURCES / 'cli' / 'codes.json'
_CODE = re.compile(r'[A-Z]{2,8}(-[A-Z]+)+')
#: What a browser fetches by itself.
_LOADED = re.compile(
    r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//[^"]*"'
    r'|<link[^>]* rel="stylesheet"[^>]* href="(?:https?:)?//[^"]*"'
    r'|googletagmanager|\$\.ajax'
)


def codes() -> set[str]:
    """Those in the source: whatever looks like one, and what findings get."""
    found = set()
    for path in SOURCES.rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant):
                if _CODE.fullmatch(str(node.value)):
                    found.add(str(node.value))
            elif isinstance(node, ast.Call):
                found.update(_of_finding(node))
    return found


def _of_finding(call: ast.Call) -> Iterator[str]:
    """The code of ``Finding('CODE', …)``, where it is written out."""
    name = getattr(call.func, 'id', getattr(call.func, 'attr', ''))
    if name == 'Finding' and call.args:
        code = call.args[0]
        if isinstance(code, ast.Constant) and isinstance(code.value, str):
            yield code.value


def names() -> set[str]:
    """Each gate, and each code of a finding."""
    layers = {point.name for point in entry_points('nova_recovery.readiness')}
    return {one.name for one in gates.GATES} | codes() | layers


def wrong(html: pathlib.Path) -> Iterator[str]:
    named = {findings.guide(name) for name in names()}
    named |= {
        f'cli/index.html#{point.name.replace("_", "-")}'
        for point in entry_points('openstack.recovery.v1')
        if point.name != 'recovery'
    }
    for place in sorted(named):
        page, _, anchor = place.partition('#')
        if f'id="{anchor}"' not in (html / page).read_text():
            yield f'there is no {place}'
    for path in sorted(html.rglob('*.html')):
        for loaded in _LOADED.findall(path.read_text()):
            yield f'{path.relative_to(html)} loads {loaded}'
    told = html / TOLD.name
    if told.read_text() != TOLD.read_text():
        yield f'{TOLD} is not what the pages say: copy {told} there'
    if not (html / 'searchindex.js').exists():
        yield 'there is no searchindex.js'


def main(html: str) -> int:
    """Return 0 if all is there, else say what is not and return 1."""
    found = list(wrong(pathlib.Path(html)))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
