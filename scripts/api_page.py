#!/usr/bin/env python3
"""Write charlstm/API.md, a page on the library, and charlstm/__init__.pyi, its stub file.

The page is made from the docstrings. Type checkers and editors read the stub file, because they
cannot see the keywords of charlstm.train, which are made from the knobs in charlstm/config. A test
compares both files: run this script whenever an option or a docstring changes.
"""

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

try:
    import charlstm
    from charlstm.config import Record, knobs_of
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup, then .venv/bin/python scripts/api_page.py")

PACKAGE = Path(__file__).resolve().parents[1] / "charlstm"
PAGE, STUB = PACKAGE / "API.md", PACKAGE / "__init__.pyi"

OPENING = """# The library

This page is made by `.venv/bin/python scripts/api_page.py` from the docstrings; a test compares
the page with them. The page lists the names that `import charlstm` gives. The
[README](../README.md#as-a-library) has examples. `Array` is a NumPy array of floating-point
numbers, `Ids` an array of the ids of symbols.

Bad files, texts and arguments, of any type and size, are refused with a
[CharlstmError](#charlstmerror), whose message names the argument in backquotes; if an error of the
system was the reason, it is the `__cause__`. A misspelt keyword is a `TypeError` too. The records
of results, such as [Loss](#loss), do not check the values that they are made with. After Ctrl-C,
`train` saves the run and raises `KeyboardInterrupt`, or returns the run with
`on_interrupt="return"`.
"""


# -- signatures ------------------------------------------------------------------------------------


def tree_of(member: Any) -> Any:
    """The syntax tree of the source of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(member)))).body[0]


def source_of(annotation: ast.expr) -> str:
    """The source text of a type, without the quotes around the name of a class."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation).replace("'", '"')


def text_of(annotation: Any) -> str:
    """The source text of the type of a knob's keyword: `int | Literal["auto"] | None`."""
    alternatives = [annotation] if get_origin(annotation) is Literal else get_args(annotation)
    types = [each.__name__ for each in alternatives if isinstance(each, type)]
    literals = [get_args(each) for each in alternatives if get_origin(each) is Literal]
    values = dict.fromkeys(json.dumps(value) for each in literals for value in each)
    texts = [*types, f"Literal[{', '.join(values)}]"]
    if "NoneType" in texts:
        texts.remove("NoneType")
        texts.append("None")
    return " | ".join(texts)


def with_default(text: str, default: Any) -> str:
    """A parameter with its default, if it has one."""
    if default is inspect.Parameter.empty:
        return text
    return f"{text} = {json.dumps(default) if isinstance(default, str) else repr(default)}"


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """The source text of each parameter but self, those added by takes_options included."""
    arguments = tree_of(function).args
    written = {each.arg: each.annotation for each in (*arguments.args, *arguments.kwonlyargs)}
    texts: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        known = name in written
        kind = source_of(written[name]) if known else text_of(parameter.annotation)
        texts.append(with_default(f"{name}: {kind}", parameter.default))
    return texts


def signature(name: str, parameters: list[str], returned: str = "", indent: str = "") -> str:
    """A call, with one parameter on each line if one line would be too long."""
    end = f") -> {returned}" if returned else ")"
    line = f"{name}({', '.join(parameters)}{end}"
    if len(line) <= 90:
        return line
    return f"{name}(\n" + "".join(f"    {each},\n" for each in parameters) + end


def returned_by(function: Callable[..., Any]) -> str:
    """The source text of the type that a function returns."""
    returned = tree_of(function).returns
    return "" if returned is None else source_of(returned)


# -- the stub file ---------------------------------------------------------------------------------


def stub() -> str:
    """The text of the stub file: imports of the public names, and train with all its keywords."""
    names_by_module = {"charlstm.runs.events": ["Observer"]}
    for name, module in charlstm.MODULES.items():
        if name != "train":
            names_by_module.setdefault(module, []).append(name)
    imports = [f"from {m} import {', '.join(each)}" for m, each in names_by_module.items()]
    names = "".join(f'    "{name}",\n' for name in charlstm.__all__)
    parameters = parameters_of(charlstm.train)
    documentation = textwrap.indent((charlstm.train.__doc__ or "").replace("\\", "\\\\"), "    ")
    return "\n".join(
        [
            "# This file is made by scripts/api_page.py from the knobs in charlstm/config.",
            "from collections.abc import Sequence",
            "from pathlib import Path",
            "from typing import Literal",
            "",
            *sorted(imports),
            "",
            "__version__: str",
            "",
            f"__all__ = [\n{names}]",
            "",
            f"{signature('def train', parameters, returned_by(charlstm.train))}:",
            f'    """{documentation.lstrip()}',
            '    """',
            "",
        ]
    )


# -- the page --------------------------------------------------------------------------------------


def markdown(docstring: str | None) -> str:
    """A docstring as Markdown, in which each entry "name: explanation" is a list item."""
    lines: list[str] = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        entry = re.match(r"((?:[a-z]\w*(?: \([^)]*\))?(?:, )?)+): (.*)", line)
        if entry:
            if lines and lines[-1] and not lines[-1].startswith(("- ", "  ")):
                lines.append("")
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        elif lines and line.startswith("    ") and lines[-1].startswith(("- ", "  ")):
            lines.append(f"  {line.strip()}")
        else:
            if line and lines and lines[-1].startswith(("- ", "  ")):
                lines.append("")
            lines.append(line)
    return "\n".join(lines)


def section(title: str, code: str, docstring: str | None) -> str:
    """A part of the page: a heading, a block of code and an explanation."""
    block = f"\n```python\n{code}\n```\n" if code else ""
    return f"\n{title}\n{block}\n{markdown(docstring)}\n"


def members_of(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class and of its base classes of charlstm.

    The methods of Record are left out, because they serve the command line and the files of runs.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if base.__module__.startswith("charlstm.") and base is not Record:
            found.update({k: v for k, v in vars(base).items() if k not in found})
    for name, member in found.items():
        function = getattr(member, "__func__", member)
        is_public = not (name.startswith("_") or (issubclass(cls, Record) and name in vars(Record)))
        if is_public and (isinstance(member, property) or inspect.isfunction(function)):
            yield name, function


def class_sections(cls: type) -> Iterator[str]:
    """The section of a class, and one for each of its methods and properties."""
    parts, parameters = [inspect.cleandoc(cls.__doc__ or "")], []
    if dataclasses.is_dataclass(cls):
        own = {each.name for each in dataclasses.fields(cls)}  # without class variables
        assignments = [each for each in tree_of(cls).body if isinstance(each, ast.AnnAssign)]
        fields = [each for each in assignments if each.target.id in own]
        for name, kind in ((each.target.id, source_of(each.annotation)) for each in fields):
            default = getattr(cls, name, inspect.Parameter.empty)
            parameters.append(with_default(f"{name}: {kind}", default))
    elif not issubclass(cls, Exception):
        parameters = parameters_of(cls.__init__)
        parts.append(inspect.cleandoc(cls.__init__.__doc__ or ""))
    if issubclass(cls, Record):
        helps = {name: knob.facts.help for name, knob in knobs_of(cls).items()}
        parts.append("\n".join(f"{name}: {text}" for name, text in helps.items()))
    call = signature(cls.__name__, parameters) if parameters else ""
    yield section(f"## {cls.__name__}", call, "\n\n".join(filter(None, parts)))
    for name, member in members_of(cls):
        if isinstance(member, property):
            code = f"{name}: {returned_by(member.fget)}"
        else:
            code = signature(name, parameters_of(member), returned_by(member))
        yield section(f"### {cls.__name__}.{name}", code, member.__doc__)


def page() -> str:
    """The whole page: functions, then classes, each in the order of charlstm.__all__."""
    parts, objects = [OPENING], [getattr(charlstm, name) for name in charlstm.__all__]
    for each in filter(inspect.isfunction, objects):
        code = signature(each.__name__, parameters_of(each), returned_by(each))
        parts.append(section(f"## {each.__name__}", code, each.__doc__))
    for each in filter(inspect.isclass, objects):
        parts += class_sections(each)
    return re.sub(r"\n{3,}", "\n\n", "".join(parts))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    STUB.write_text(stub(), encoding="utf-8")
    print(PAGE, STUB, sep="\n")
