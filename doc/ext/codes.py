# SPDX-License-Identifier: Apache-2.0

"""Anchors of gates and of the codes of findings, and where each is told of.

Tables and definitions of the user guide begin with them, as literals; the
one code of the configuration stands with it. Each
gets an anchor there, ``#srv-down`` or ``#source-silent``; ``.. codes::`` lists
all of them, with the same anchors, so that the program has one place to point
to. ``codes.json`` has what is told of each in plain text: the program carries
a copy of it, for *recovery guide CODE*.
"""

from __future__ import annotations

from collections.abc import Iterator
import json
import pathlib
import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.util.nodes import make_refnode

from nova_recovery.compat import entry_points
from nova_recovery.procedures import gates

_CODE = re.compile(r'[A-Z]{2,8}(-[A-Z]+)+')
_GATES = {one.name for one in gates.GATES}
#: The codes of readiness, words that mean something else on other pages.
_LAYERS = {point.name for point in entry_points('nova_recovery.readiness')}
#: Codes that are a plain word, and the one page that tells of them.
_WORDS = {'user/readiness': _LAYERS, 'configuration/index': {'CONFIG'}}
#: Typographic quotes, and plain ones.
_QUOTES = str.maketrans('\u2018\u2019\u201c\u201d', '\'\'""')


class codes(nodes.General, nodes.Element):
    """Where the list comes."""


class Codes(Directive):
    """``.. codes::``"""

    def run(self) -> list[nodes.Node]:
        return [codes()]


def told(
    doctree: nodes.document, docname: str
) -> Iterator[tuple[nodes.literal, nodes.Element]]:
    """The codes and gates that begin a row of a table, or a definition.

    Each with what tells of it: the row, or the item of the list.
    """
    words = _GATES | _WORDS.get(docname, set())
    firsts = [row[0] for row in doctree.findall(nodes.row)]
    for first in (*firsts, *doctree.findall(nodes.term)):
        for literal in first.findall(nodes.literal):
            word = literal.astext()
            if word in words or _CODE.fullmatch(word):
                yield literal, first.parent


def collect(app: Any, doctree: nodes.document) -> None:
    """Give them anchors, and remember where they are."""
    docname = app.env.docname
    if not docname.startswith('user/') and docname not in _WORDS:
        return
    seen = set()
    for literal, _ in told(doctree, docname):
        word = literal.astext()
        if word not in seen:
            seen.add(word)
            literal['ids'].append(word.lower())
            _known(app.env).setdefault(word, set()).add(docname)


def _known(env: Any) -> dict[str, set[str]]:
    if not hasattr(env, 'recovery_codes'):
        env.recovery_codes = {}
    return env.recovery_codes


def forget(app: Any, env: Any, docname: str) -> None:
    for pages in _known(env).values():
        pages.discard(docname)


def merge(app: Any, env: Any, docnames: Any, other: Any) -> None:
    for word, pages in _known(other).items():
        _known(env).setdefault(word, set()).update(pages)


def fill(app: Any, doctree: nodes.document, docname: str) -> None:
    """Put the lists where they were asked for."""
    for place in doctree.findall(codes):
        listed = nodes.definition_list()
        for word, pages in sorted(_known(app.env).items()):
            if pages:
                listed += _item(app, word, sorted(pages), docname)
        place.replace_self(listed)


def _item(app: Any, word: str, pages: list[str], here: str) -> nodes.Node:
    links = nodes.paragraph()
    for page in pages:
        if links.children:
            links += nodes.Text(', ')
        title = nodes.Text(app.env.titles[page].astext())
        links += make_refnode(app.builder, here, page, word.lower(), title)
    return nodes.definition_list_item(
        '',
        nodes.term(
            '', '', nodes.literal(text=word), ids=[nodes.make_id(word)]
        ),
        nodes.definition('', links),
    )


def save(app: Any, error: Exception | None) -> None:
    """What is told of each, beside the pages."""
    if error or app.builder.format != 'html':
        return
    texts: dict[str, list[Any]] = {}
    pages = {page for some in _known(app.env).values() for page in some}
    for page in sorted(pages):
        doctree = app.env.get_and_resolve_doctree(page, app.builder)
        title = app.env.titles[page].astext()
        for literal, place in told(doctree, page):
            texts.setdefault(literal.astext(), []).append(
                [page, title, *_plain(place)]
            )
    (pathlib.Path(app.outdir) / 'codes.json').write_text(
        json.dumps(texts, indent=1, sort_keys=True, ensure_ascii=False) + '\n'
    )


def _plain(place: nodes.Element) -> list[list[str]]:
    """``[header, paragraph, …]`` of each cell, or of the definition."""
    if not isinstance(place, nodes.row):
        return [
            [place[0].astext(), *_paragraphs(one)]
            for one in place.findall(nodes.definition)
        ]
    heads = next(iter(place.parent.parent.findall(nodes.thead)), None)
    headers = [cell.astext() for cell in heads[0]] if heads else []
    return [
        [header, *_paragraphs(cell)]
        for header, cell in zip(headers or [''] * len(place), place)
    ]


def _paragraphs(cell: nodes.Element) -> list[str]:
    """As plain text; what is to be typed keeps its lines, further in."""
    found = []
    for one in cell.findall():
        if isinstance(one, nodes.literal_block):
            found += [f'    {line}' for line in one.astext().split('\n')]
        elif isinstance(one, nodes.paragraph):
            found.append(' '.join(_quoted(one).split()))
    return found


def _quoted(paragraph: nodes.Element) -> str:
    """With quotes around what is typed, and around titles of pages."""
    told = ''
    for one in paragraph:
        text = one.astext()
        named = isinstance(one, (nodes.reference, nodes.literal))
        whole = named and ' ' in text and '"' not in text
        told += f'"{text}"' if whole else text
    # a terminal may have none of those that Sphinx makes
    return told.translate(_QUOTES)


def setup(app: Any) -> dict[str, Any]:
    app.add_node(codes)
    app.add_directive('codes', Codes)
    app.connect('doctree-read', collect)
    app.connect('env-purge-doc', forget)
    app.connect('env-merge-info', merge)
    app.connect('doctree-resolved', fill)
    app.connect('build-finished', save)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
