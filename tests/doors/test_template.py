from __future__ import annotations

import pytest

from weft.doors.cli.template import headings, render
from weft.errors import Invalid

CONTAINER = {
    "id": "0123456789abcdef",
    "name": "db",
    "internal": False,
    "pid": None,
    "count": 3,
    "labels": {"tier": "data", "a.b": "c"},
    "network_id": "77",
    "exit": {"code": 5},
    "aliases": ["cache", "store"],
    "endpoints": [{"network": "front", "ipv4": "10.7.0.9/24"}, {"network": "back", "ipv4": None}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "db"),
        ("{{ .Name }}!", "db!"),
        ("{{.name}} {{.ID}} {{.NetworkID}} {{.network_id}}", "db 0123456789abcdef 77 77"),
        ("{{.Exit.Code}}", "5"),
        ("{{.Internal}} {{.Count}} [{{.Pid}}]", "false 3 []"),
        ("{{json .Labels}}", '{"tier": "data", "a.b": "c"}'),
        ("{{json .Name}}", '"db"'),
        ('{{index .Labels "a.b"}}', "c"),
        ('{{index .Labels "none"}}', ""),
        ("{{index .Aliases 1}}", "store"),
        ('{{join .Aliases ", "}}', "cache, store"),
        ('{{.Aliases | join ", "}}', None),
        ("{{len .Aliases}}", "2"),
        ("{{upper .Name}}{{.Name | upper}}{{lower `X`}}", "DBDBx"),
        ("{{range .Endpoints}}{{.Network}} {{end}}", "front back "),
        ("{{range .Endpoints}}{{$.Name}}-{{.Network}} {{end}}", "db-front db-back "),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}", "tier=data;a.b=c;"),
        ("{{range $v := .Aliases}}{{$v}};{{end}}", "cache;store;"),
        ("{{range $i, $e := .Endpoints}}{{$i}}{{$e.Network}} {{end}}", "0front 1back "),
        ("{{range .Pid}}x{{else}}none{{end}}", "none"),
        ("{{if .Internal}}yes{{else}}no{{end}}", "no"),
        ("{{if .Count}}{{if not .Internal}}both{{end}}{{end}}", "both"),
        ('{{if eq .Name "db"}}it{{end}}{{if ne .Name "db"}}not{{end}}', "it"),
        ("a\\tb\\n", "a\tb\n"),
        ("{{println .Name}}x", "db\nx"),
        ("a {{- .Name -}} b", "adbb"),
        ("{{.Aliases}} {{.Exit}}", "[cache store] map[code:5]"),
    ],
)
def test_templates(template: str, text: str | None):
    if text is None:
        with pytest.raises(Invalid):
            render(template, CONTAINER)
    else:
        assert render(template, CONTAINER) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{.Nane}}", "there is no field .Nane; fields are .id, .name"),
        ("{{.Name.First}}", ".First of something that has no fields"),
        ("{{.Name", "does not end"),
        ("{{if .Name}}x", "'end' is missing"),
        ("{{range .Aliases}}x{{else}}", "'end' is missing"),
        ("{{end}}", "'end' without if or range"),
        ("{{else}}", "'else' without if or range"),
        ("{{printf .Name}}", "unknown function 'printf'"),
        ("{{Name}}", "fields begin with a dot"),
        ("{{}}", "is not understood"),
        ("{{.Name |}}", "is not understood"),
        ("{{$x}}", "there is no variable $x"),
        ("{{join .Count 1}}", "does not fit"),
        ("{{index .Aliases 7}}", "does not fit"),
    ],
)
def test_what_is_wrong_is_said(template: str, message: str):
    with pytest.raises(Invalid) as refused:
        render(template, CONTAINER)
    assert message in refused.value.message


def test_headings_of_a_table():
    assert headings("{{.Names}}\\t{{upper .Status}}") == "NAMES\tSTATUS"
