"""The walk along a way as text for people; works on its JSON document."""

from __future__ import annotations

from weft.explain.text import Look

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_STATES = {"yes": "present", "no": "missing", "perhaps": "unsure"}


def render_reach(document: Mapping[str, Any], look: Look) -> str:
    out = [look.bold(f"{document['source']} → {document['target']}"), ""]
    for step in document["steps"]:
        out += look.marked(_STATES[step["holds"]], step["text"])
        out += look.hanging(step["why"])
        out += [f"{look.hang}  $ {look.clean(command)}" for command in step["mend"]]
    first, *more = look.wrap(document["verdict"], "  ")
    out += ["", f"{look.mark(_STATES[document['arrives']])} {first}", *(f"  {line}" for line in more)]
    return "\n".join(out) + "\n"
