"""How answers are shown: tables for people, JSON and templates for programs."""

from __future__ import annotations

import json

from weft.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weft.client import Answer, Container, Endpoint, Port
    from weft.doors.cli.flags import Options
    from weft.doors.cli.session import Session

SHORT = 12


def show_rows(
    rows: Sequence[Mapping[str, str]], columns: Sequence[tuple[str, str]], options: Options, session: Session
) -> None:
    """A list as the flags ask: --quiet, --format, or the table. `columns` is (heading, the row's key)."""
    template = options.text("format")
    if options.on("quiet"):
        for row in rows:
            session.print(row["ID"])
    elif template is None or template == "table":
        session.print(table([heading for heading, _ in columns], [[row[key] for _, key in columns] for row in rows]))
    elif template == "json":
        for row in rows:
            session.print(json.dumps(row, ensure_ascii=False))
    elif template.startswith("table "):
        _templated_table(template.removeprefix("table "), rows, session)
    else:
        from weft.doors.cli.template import compile_template

        render = compile_template(template)
        for row in rows:
            session.print(render(row))


def _templated_table(template: str, rows: Sequence[Mapping[str, str]], session: Session) -> None:
    from weft.doors.cli.template import compile_template, headings

    render = compile_template(template)
    lines = [headings(template).split("\t"), *(render(row).split("\t") for row in rows)]
    session.print(table(lines[0], lines[1:]))


def show_documents(answers: Sequence[Answer], template: str | None, session: Session) -> None:
    """Whole documents, as `inspect` gives them."""
    if template is None or template == "json":
        session.print(json.dumps([answer.document for answer in answers], indent=4, ensure_ascii=False))
        return
    from weft.doors.cli.template import compile_template

    render = compile_template(template)
    for answer in answers:
        session.print(render(answer.document))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, three spaces between them."""
    lines = [headings, *rows]
    widths = [max(len(line[i]) for line in lines if i < len(line)) for i in range(len(headings))]
    return "\n".join("   ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)  # noqa: B905


def matches(
    filters: Sequence[str], known: Mapping[str, str], labels: Mapping[str, str], *, begins: Sequence[str] = ()
) -> bool:
    """Whether all --filter flags hold. `known` is filter name to text that must contain the value.

    Of the names in `begins`, it must begin with the value: `die` is not `exec_die`.
    Several values of one name: one of them must hold, as with Docker.
    """
    asked: dict[str, list[str]] = {}
    for text in filters:
        name, separator, value = text.partition("=")
        if not separator or name not in (*known, "label"):
            raise Invalid(f"filter {text!r}: write NAME=VALUE; names are {', '.join((*known, 'label'))}")
        asked.setdefault(name, []).append(value)
    for name, values in asked.items():
        if name == "label":
            if not all(_has_label(labels, value) for value in values):
                return False
        elif not any(known[name].startswith(value) if name in begins else value in known[name] for value in values):
            return False
    return True


def _has_label(labels: Mapping[str, str], wanted: str) -> bool:
    key, separator, value = wanted.partition("=")
    return key in labels and (not separator or labels[key] == value)


def labels_text(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def ports_text(ports: Sequence[Port]) -> str:
    """As Docker's, runs of consecutive ports together: `127.0.0.1:9000-9010->9000-9010/udp`."""
    runs: list[list[Port]] = []
    for port in sorted(ports, key=lambda p: (p.proto, p.host_ip or "", p.container_port, p.host_port)):
        last = runs[-1][-1] if runs else None
        follows = (
            last is not None
            and (last.proto, last.host_ip) == (port.proto, port.host_ip)
            and last.container_port + 1 == port.container_port
            and (last.host_port + 1 == port.host_port or last.host_port == port.host_port == 0)
        )
        if follows:
            runs[-1].append(port)
        else:
            runs.append([port])
    return ", ".join(_run_text(run) for run in runs)


def _run_text(run: Sequence[Port]) -> str:
    first, last = run[0], run[-1]
    host = _span(first.host_port, last.host_port)
    inside = _span(first.container_port, last.container_port)
    if first.host_port == 0:  # at the container's own address
        return f"{inside}/{first.proto}"
    return f"{host_text(first.host_ip)}{host}->{inside}/{first.proto}"


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def host_text(host_ip: str | None) -> str:
    """The address before a port: nothing for every address, brackets around IPv6."""
    if host_ip is None:
        return ""
    return f"[{host_ip}]:" if ":" in host_ip else f"{host_ip}:"


def endpoint_text(endpoint: Endpoint) -> str:
    addresses = [address.partition("/")[0] for address in (endpoint.ipv4, endpoint.ipv6) if address]
    return f"{endpoint.network} {' '.join(addresses)}".rstrip()


def status_text(container: Container, now: float) -> str:
    if container.exit is not None:
        return f"Exited ({container.exit.code}) {ago(now - container.exit.at)} ago"
    if container.state == "created":
        return "Created"
    return f"Up {ago(now - container.created)}"


def ago(seconds: float) -> str:
    """About how long, in one unit: `5 minutes`."""
    for unit, length in (("week", 604800), ("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length or (unit in ("minute", "hour") and seconds >= length):
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    count = max(0, int(seconds))
    return f"{count} second{'s' if count != 1 else ''}"


def bytes_text(count: float) -> str:
    """1.2 kB, in powers of a thousand as network people count."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
