"""`--format`: the part of Go's templates that people use with Docker.

    {{.Name}}  {{json .}}  {{.A.B}}  {{index .Labels "k"}}  {{join .Aliases ", "}}  {{len .X}}  {{upper .X}}
    {{range .Endpoints}}{{.Network}} {{end}}    {{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}
    {{if .Internal}}…{{else}}…{{end}}    {{println .X}}

A field is found whatever its spelling: .NetworkID, .network_id and .Networkid are one.
"""

from __future__ import annotations

import json
import re

from weft.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Scope = dict[str, Any]
    Node = Callable[[Scope], str]

_ACTION = re.compile(r"\{\{(-\s)?\s*(.*?)\s*(\s-)?\}\}", re.DOTALL)
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|\||:=|,|[^\s|,]+')
_ESCAPES = {r"\t": "\t", r"\n": "\n"}


def render(template: str, value: object) -> str:
    """Raises Invalid for what the template language lacks, or a field that is not there."""
    return compile_template(template)(value)


def compile_template(template: str) -> Callable[[object], str]:
    for escape, character in _ESCAPES.items():
        template = template.replace(escape, character)
    tokens = _tokens(template)
    nodes, _ = _block(tokens, 0, ())
    return lambda value: "".join(node({"": value, "$": value}) for node in nodes)


def _tokens(template: str) -> list[tuple[bool, str]]:
    """(is an action, text) in turn; the trimming marks are applied."""
    tokens: list[tuple[bool, str]] = []
    at = 0
    trim = False
    for match in _ACTION.finditer(template):
        text = template[at : match.start()]
        text = text.lstrip() if trim else text
        tokens.append((False, text.rstrip() if match[1] else text))
        tokens.append((True, match[2]))
        at, trim = match.end(), bool(match[3])
    tokens.append((False, template[at:].lstrip() if trim else template[at:]))
    if any("{{" in text for action, text in tokens if not action):
        raise Invalid(f"format: {template!r} has an action that does not end")
    return tokens


def _block(tokens: Sequence[tuple[bool, str]], at: int, ends: tuple[str, ...]) -> tuple[list[Node], int]:
    """The nodes up to one of the words in `ends`, and where that word is."""
    nodes: list[Node] = []
    while at < len(tokens):
        action, text = tokens[at]
        if not action:
            nodes.append(_text(text))
            at += 1
            continue
        word, _, rest = text.partition(" ")
        if word in ends:
            return nodes, at
        if word == "if":
            node, at = _if(tokens, at, rest)
        elif word == "range":
            node, at = _range(tokens, at, rest)
        elif word in ("end", "else"):
            raise Invalid(f"format: {word!r} without if or range")
        else:
            node = _show(_expression(text))
        nodes.append(node)
        at += 1
    if ends:
        raise Invalid("format: 'end' is missing")
    return nodes, at


def _text(text: str) -> Node:
    return lambda _: text


def _show(evaluate: Callable[[Scope], Any]) -> Node:
    return lambda scope: _shown(evaluate(scope))


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_shown(item)}' for key, item in value.items())}]"
    return str(value)


def _if(tokens: Sequence[tuple[bool, str]], at: int, condition: str) -> tuple[Node, int]:
    test = _expression(condition)
    yes, at = _block(tokens, at + 1, ("end", "else"))
    no: list[Node] = []
    if tokens[at][1].startswith("else"):
        no, at = _block(tokens, at + 1, ("end",))
    return (lambda scope: "".join(node(scope) for node in (yes if test(scope) else no))), at


def _range(tokens: Sequence[tuple[bool, str]], at: int, head: str) -> tuple[Node, int]:
    names, assigned, source = head.partition(":=")
    variables = [name.strip() for name in names.split(",")] if assigned else []
    evaluate = _expression(source if assigned else head)
    body, at = _block(tokens, at + 1, ("end", "else"))
    no: list[Node] = []
    if tokens[at][1].startswith("else"):
        no, at = _block(tokens, at + 1, ("end",))

    def node(scope: Scope) -> str:
        value = evaluate(scope)
        pairs = list(value.items() if isinstance(value, dict) else enumerate(value or ()))
        if not pairs:
            return "".join(each(scope) for each in no)
        out: list[str] = []
        for key, item in pairs:
            inner = {**scope, "": item}
            inner.update(zip(variables, (key, item) if len(variables) == 2 else (item,), strict=False))
            out.extend(each(inner) for each in body)
        return "".join(out)

    return node, at


def _expression(text: str) -> Callable[[Scope], Any]:
    """A term, a function with terms, or such in a pipeline."""
    stages: list[list[str]] = [[]]
    for word in _WORD.findall(text):
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    if not all(stages):
        raise Invalid(f"format: '{{{{{text}}}}}' is not understood")
    parsed = [_stage(words) for words in stages]

    def evaluate(scope: Scope) -> Any:
        value = parsed[0](scope, ())
        for stage in parsed[1:]:
            value = stage(scope, (value,))
        return value

    return evaluate


def _stage(words: Sequence[str]) -> Callable[[Scope, tuple[Any, ...]], Any]:
    function = _FUNCTIONS.get(words[0])
    if function is None:
        if len(words) > 1:
            raise Invalid(f"format: unknown function {words[0]!r}; there are {', '.join(_FUNCTIONS)}")
        term = _term(words[0])
        return lambda scope, _: term(scope)
    terms = [_term(word) for word in words[1:]]

    def call(scope: Scope, piped: tuple[Any, ...]) -> Any:
        try:
            return function(*(term(scope) for term in terms), *piped)
        except (TypeError, KeyError, IndexError, AttributeError):
            raise Invalid(f"format: {' '.join(words)} does not fit what it is given") from None

    return call


def _term(word: str) -> Callable[[Scope], Any]:
    if word[0] in '"`':
        text = json.loads(word) if word[0] == '"' else word[1:-1]
        return lambda _: text
    if word.lstrip("-").isdecimal():
        number = int(word)
        return lambda _: number
    if word[0] not in ".$":
        raise Invalid(f"format: {word!r} is not understood; fields begin with a dot, as {{{{.Name}}}}")
    root, *path = word.split(".")
    return lambda scope: _walk(_root(scope, root), [name for name in path if name])


def _root(scope: Scope, root: str) -> Any:
    if root not in scope:
        raise Invalid(f"format: there is no variable {root}")
    return scope[root]


def _walk(value: Any, path: Sequence[str]) -> Any:
    for name in path:
        if not isinstance(value, dict):
            raise Invalid(f"format: .{name} of something that has no fields")
        value = value[_field(value, name)]
    return value


def _field(value: Mapping[str, Any], name: str) -> str:
    if name in value:
        return name
    plain = _plain(name)
    found = next((key for key in value if _plain(key) == plain), None)
    if found is None:
        raise Invalid(f"format: there is no field .{name}; fields are {', '.join(f'.{key}' for key in value)}")
    return found


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else value[key]
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "join": lambda value, separator: separator.join(_shown(item) for item in value),
    "split": lambda value, separator: value.split(separator),
    "upper": lambda value: value.upper(),
    "lower": lambda value: value.lower(),
    "len": len,
    "index": _index,
    "println": lambda *values: " ".join(_shown(value) for value in values) + "\n",
    "not": lambda value: not value,
    "eq": lambda value, *others: value in others,
    "ne": lambda value, other: value != other,
}


def headings(template: str) -> str:
    """The heading line of a `table` template: the last field of every action, in capitals."""
    for escape, character in _ESCAPES.items():
        template = template.replace(escape, character)

    def heading(match: re.Match[str]) -> str:
        fields = re.findall(r"\.(\w+)", match[2])
        return fields[-1].upper() if fields else ""

    return _ACTION.sub(heading, template)
