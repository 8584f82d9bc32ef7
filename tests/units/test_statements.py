"""Statements: the same as `ast` sees in the whole, each as soon as it is certain."""

import ast
import io
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.units.statements import StatementSplitter
from tests.support import cut, cut_points, quick

#: Each is one or several top-level statements, without the last newline.
SNIPPETS = [
    "x = 1",
    "a = 1; b = 2",
    "a = 1;",
    "import os, sys",
    "print('héllo — 你好 🎉'); y = '🎉'",
    "x = 1  # 你好, a comment \\",
    '"""A docstring."""',
    'text = """\nif x:\nelse:\n"""',
    'f(\n    1,\n\n    # inside\n    "two",\n)',
    "total = 1 + \\\n    2",
    "from os import \\\n    path",
    "value = [\n    x\n    for x in range(3)\n]",
    "if (n := 3) > 2: pass",
    "if x:\n    y = 1",
    "if x: y = 1\nelif z: y = 2\nelse: y = 3",
    "if a and \\\n        b:\n    y = 1\n\n# between\nelse:\n    y = 2",
    "try:\n    f()\nexcept ValueError as error:\n    pass\nelse:\n    g()\nfinally:\n    h()",
    "try:\n    f()\nexcept* ValueError:\n    pass",
    "for i in x:\n    pass\nelse:\n    y = 1",
    "while x:\n    x -= 1\n    continue",
    "with open('é') as file, \\\n        b:\n    file.read()",
    "with (\n    a as b,\n    c,\n):\n    pass",
    "match x:\n    case 1 | 2:\n        y = 1\n    case {'k': v}:\n        y = 2",
    "match x, y:\n    case _:\n        pass",
    "match = 1; case = match",
    "def f(a, *, b=1):\n    '''Doc.'''\n\n    # a comment\n# another\n    return a\n    ",
    'def f():\n    text = """\nat column zero\n"""\n    return text',
    "def f(\n    a,\n):\n    return (\n        a\n    )",
    "def f(): return 1",
    "async def f():\n    async with a:\n        await b\n    return [c async for c in d]",
    "await f()",
    "async for x in y:\n    pass",
    "async with a as b:\n    pass",
    "@first\n@second(1, 'é')\ndef f():\n    pass",
    "@first(\n    1,\n)\n# a comment\n\nclass A:\n    x: int = 1\n\n    @y\n    def y(self): ...",
    "@a\nasync def f(): await b",
    "class Empty: ...",
    "class B(A):\n\n    def f(self):\n        if x:\n            y()\n        else: z()",
    "else_ = 1",
    "finally_ = 2; exception = 3",
    "x: list[int] = []",
    "f'{x!r:>{width}} {y}'",
    "lambda: (yield)",
    "global z",
    "assert x, (\n    'é'\n)",
    "\x0cx = 1",
]  # fmt: skip

ENDINGS = ["\n", "\r\n", "\r"]
separators = st.sampled_from(["\n", "\n\n", "\n# a comment\n", "\n   \n\n", "\n    # indented\n"])


@st.composite
def programs(draw):
    """Valid Python: some of the snippets, with blank lines and comments between them."""
    snippets = draw(st.lists(st.sampled_from(SNIPPETS), max_size=5))
    text = "".join(snippet + draw(separators) for snippet in snippets)
    return text if draw(st.booleans()) else text.rstrip("\n")


#: Mostly no Python at all.
scribbles = st.lists(
    st.sampled_from([
        *"ab1=():'\"\\\n\r\t #@;,.é\x0c", "\n    ", '"""', "if x:", "else:", "def f():", "pass",
        "try:", "class A:", "match x:", "case 1:", "\x00",
    ]),
    max_size=25,
).map("".join)  # fmt: skip


def statements_of(pieces):
    splitter = StatementSplitter()
    return [s for piece in pieces for s in splitter.feed(piece)] + splitter.close()


def as_ast_says(program):
    """Each statement from its first token to its end; a decorated one begins at its `@`."""
    lines = program.split("\n")
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)
    starts = [
        token.start
        for token in tokenize.generate_tokens(io.StringIO(program).readline)
        if token.type not in layout and token.string != ";"
    ]
    statements, position = [], (1, 0)
    for node in ast.parse(program).body:
        row, column = next(start for start in starts if start >= position)
        end_column = len(lines[node.end_lineno - 1].encode()[: node.end_col_offset].decode())
        position = (node.end_lineno, end_column)
        part = lines[row - 1 : node.end_lineno]
        part[-1] = part[-1][:end_column]
        part[0] = part[0][column:]
        statements.append("\n".join(part))
    return statements


def with_plain_newlines(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


def assert_are_parts_of(text, statements):
    """Each is written in the text, one after the other."""
    position = 0
    for statement in statements:
        position = text.index(statement, position) + len(statement)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_snippet_has_the_statements_that_ast_sees(snippet):
    assert statements_of([snippet + "\n"]) == as_ast_says(snippet + "\n")


@quick
@given(programs(), cut_points)
def test_a_program_has_the_statements_that_ast_sees_in_the_whole(program, points):
    assert statements_of(cut(program, points)) == as_ast_says(program)


@quick
@given(programs(), cut_points)
def test_windows_line_endings_reach_the_statements_as_they_are(program, points):
    expected = [statement.replace("\n", "\r\n") for statement in as_ast_says(program)]
    assert statements_of(cut(program.replace("\n", "\r\n"), points)) == expected


@quick
@given(st.data(), programs(), cut_points)
def test_any_mix_of_line_endings_reaches_the_statements_as_it_is(data, program, points):
    first, *rest = program.split("\n")
    text = first + "".join(data.draw(st.sampled_from(ENDINGS)) + line for line in rest)
    statements = statements_of(cut(text, points))
    plain = [with_plain_newlines(statement) for statement in statements]
    assert plain == as_ast_says(with_plain_newlines(text))
    assert_are_parts_of(text, statements)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("x = 1\r\ny = 2\r\n", ["x = 1", "y = 2"]),
        ("x = 1\ry = 2\r", ["x = 1", "y = 2"]),
        ('s = """a\r\nb\rc\nd"""\r\n', ['s = """a\r\nb\rc\nd"""']),
        ("a = 1 + \\\r\n  2\r\nb = 3\r\n", ["a = 1 + \\\r\n  2", "b = 3"]),
        ("f(\r\n  1,\r  2)\n", ["f(\r\n  1,\r  2)"]),
        ("@d\r\ndef f():\r\n  pass\r\nx", ["@d\r\ndef f():\r\n  pass", "x"]),
        ("# a comment\rx = 1\n", ["x = 1"]),
        ("f(1,\r\nx = 2\r\n", ["f(1,\r\nx = 2"]),
    ],
)
def test_line_endings_inside_a_statement_are_kept(text, units):
    assert statements_of([text]) == statements_of(text) == units


def test_a_carriage_return_is_no_ending_before_what_follows_is_known():
    splitter = StatementSplitter()
    assert splitter.feed("x = (\r") == []
    assert splitter.feed("\n1)\r") == []
    assert splitter.feed("y = 2") == ["x = (\r\n1)"]
    assert splitter.feed("\r") == []
    assert splitter.close() == ["y = 2"]


@quick
@given(scribbles)
def test_each_statement_is_a_part_of_the_text(text):
    assert_are_parts_of(text, statements_of([text]))


@quick
@given(scribbles, cut_points)
def test_where_the_text_is_cut_never_changes_the_statements(text, points):
    assert statements_of(cut(text, points)) == statements_of([text])


@quick
@given(scribbles.filter(lambda text: not set(text) & set("#;\\")))
def test_nothing_that_is_written_gets_lost(text):
    assert "".join("".join(statements_of([text])).split()) == "".join(text.split())


@pytest.mark.parametrize(
    "program",
    [
        "@(\n    decorator\n)\ndef f():\n    pass\n",
        "@\\\ndecorator\ndef f():\n    pass\n",
        "@first\n@(\n    second\n)\nclass A:\n    pass\n",
    ],
)
def test_a_decorator_may_span_lines(program):
    assert statements_of([program]) == as_ast_says(program)


@pytest.mark.parametrize("line", ["x = 1", "a = f(b)", "'x'", "import os"])
def test_a_simple_statement_is_certain_at_its_newline(line):
    splitter = StatementSplitter()
    assert splitter.feed(line) == []
    assert splitter.feed("\n") == [line]


def test_two_statements_of_one_line_are_certain_at_its_newline():
    splitter = StatementSplitter()
    assert splitter.feed("a = 1; b = 2") == []
    assert splitter.feed("\n") == ["a = 1", "b = 2"]


def test_a_simple_statement_of_several_lines_is_certain_at_its_last_newline():
    splitter = StatementSplitter()
    assert splitter.feed('text = """\nx = 1\n"""') == []
    assert splitter.feed("\n") == ['text = """\nx = 1\n"""']


@pytest.mark.parametrize("block", ["if x:\n    y = 1", "if x: y = 1", "@d\ndef f():\n    pass"])
def test_a_compound_statement_is_certain_when_the_next_one_begins(block):
    splitter = StatementSplitter()
    assert splitter.feed(block + "\n\n# a comment\n    # another\n") == []
    assert splitter.feed("z = f(\n") == [block]
    assert splitter.feed("1)\n") == ["z = f(\n1)"]


def test_an_else_belongs_to_its_if():
    splitter = StatementSplitter()
    assert splitter.feed("if x:\n    y = 1\nelse:\n    y = 2\n") == []
    assert splitter.feed("z = 3\n") == ["if x:\n    y = 1\nelse:\n    y = 2", "z = 3"]


def test_the_region_end_makes_everything_certain():
    splitter = StatementSplitter()
    assert splitter.feed("if x:\n    y = 1\nz = 2") == []
    assert splitter.close() == ["if x:\n    y = 1", "z = 2"]
    assert splitter.close() == []


def test_a_block_that_is_cut_short_is_handed_over_at_the_end():
    assert statements_of(["x = 1\nif x:\n"]) == ["x = 1", "if x:"]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "   \n\t\n# one\n"])
def test_blank_lines_and_comments_are_no_statements(text):
    assert statements_of([text]) == []


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("x = = 1\ny = 2\n", ["x = = 1", "y = 2"]),
        ("Sure! Here is the code:\nx = 1\n", ["Sure! Here is the code:", "x = 1"]),
        ("x = 'unterminated\ny = 2\n", ["x = 'unterminated", "y = 2"]),
        ("return 1\n", ["return 1"]),
        ("print('a'); return 1\n", ["print('a')", "return 1"]),
        ("x = 1; nonlocal x  # why\n", ["x = 1", "nonlocal x"]),
        ("    x = 1\n", ["    x = 1"]),
        ("else:\n", ["else:"]),
        ("x = 1)\n", ["x = 1)"]),
        ("f(1,\nx = 2", ["f(1,\nx = 2"]),
        ("x\x00 = 1\n", ["x\x00 = 1"]),
        ("x = '\ud800'\n", ["x = '\ud800'"]),
    ],
)
def test_what_is_no_python_is_handed_over_too(text, units):
    assert statements_of([text]) == units


def test_what_is_no_python_is_handed_over_as_soon_as_that_is_certain():
    assert StatementSplitter().feed("x = = 1\n") == ["x = = 1"]


def test_what_the_parser_cannot_nest_is_handed_over():
    deep = "(" * 3000 + ")" * 3000
    assert statements_of([deep + "\nx = 1\n"]) == [deep, "x = 1"]


def test_a_future_import_holds_for_what_follows():
    program = "from __future__ import annotations\ndef f(x: int) -> list[int]: ...\ny = 1\n"
    assert statements_of([program]) == as_ast_says(program)


def test_a_warning_of_the_compiler_is_not_shown(recwarn):
    statements_of(["x = '\\d'; y = 1 is 1\n"])
    assert not recwarn.list
