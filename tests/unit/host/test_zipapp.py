# SPDX-License-Identifier: Apache-2.0

"""What is sent to hosts does what the sources say."""

from __future__ import annotations

import ast
import pathlib

from nova_recovery.host import zipapp
from tests.base import TestCase

AGENT = pathlib.Path(zipapp.__file__).parent / 'agent'


def bare(text: str) -> str:
    """What a module does: without docstrings of functions and classes."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if ast.get_docstring(node) and len(node.body) > 1:
                del node.body[0]
    return ast.dump(tree)


class Lean(TestCase):
    def test_each_module_is_the_same_without_what_explains_it(self) -> None:
        for path in sorted(AGENT.rglob('*.py')):
            text = path.read_text()
            lean = zipapp.lean(text)
            self.assertEqual(bare(text), bare(lean), path)
            self.assertEqual(bare(lean), ast.dump(ast.parse(lean)), path)

    def test_comments_go_and_what_only_looks_like_one_stays(self) -> None:
        text = (
            '# the licence\n"""Help."""\nimport os  # why\n# more\n'
            'def f():\n    """It says\n\n    so."""\n    # aha\n'
            '    return "# no comment"\n\n\nclass E(Exception):\n'
            '    """All that it has."""\n'
        )
        self.assertEqual(
            '# the licence\n"""Help."""\nimport os\ndef f():\n'
            '    return "# no comment"\n\n\nclass E(Exception):\n'
            '    """All that it has."""\n',
            zipapp.lean(text),
        )
