# SPDX-License-Identifier: Apache-2.0

"""The documentation, as it was built, in a browser.

``python -m tests.docs doc/build/html``: the page for three in the morning is
one sheet of paper, and a link to an option from the time when all commands
were on one page leads to that option.
"""

from __future__ import annotations

from collections.abc import Iterator
import pathlib
import re
import sys
import tempfile

from tests.integration import browser
from tests.integration.browser import Browser

SHEET = 'user/three-in-the-morning.html'
#: Every eighth command.
EACH = 8
_OPTION = re.compile('id="(cmdoption-openstack-recovery-[^"]+)"')


def wrong(html: pathlib.Path, seen: Browser) -> Iterator[str]:
    """What is not as it should be."""
    seen.open(html / SHEET)
    sheets = browser.pages(seen.printed())
    if sheets != 1:
        yield f'{SHEET} is printed on {sheets} sheets'
    yield from seen.told
    reference = (html / 'cli/index.html').as_uri()
    options = 0
    # one option of some commands: what leads there is the same for all
    for page in sorted((html / 'cli').glob('*.html'))[::EACH]:
        for option in _OPTION.findall(page.read_text())[:1]:
            options += 1
            place = seen.follow(f'{reference}#{option}')
            if place != f'{page.as_uri()}#{option}':
                yield f'{reference}#{option} leads to {place}'
                # from there to the next one would be the same page
                return
    if not options:
        yield 'no page of a command has an option'


def main(html: str) -> int:
    """Return 0 if all is well, else say what is not and return 1."""
    with (
        tempfile.TemporaryDirectory(prefix='docs-') as profile,
        Browser(pathlib.Path(profile)) as seen,
    ):
        found = list(wrong(pathlib.Path(html).resolve(), seen))
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
