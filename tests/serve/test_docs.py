from __future__ import annotations

import re
from pathlib import Path

from tests.serve.house import House
from weft.serve.adjust import Adjust
from weft.serve.app import STATUS
from weft.serve.diagnose import Diagnose
from weft.serve.native import Native
from weft.serve.policy import PolicyRoutes
from weft.serve.ports import Ports
from weft.serve.update import Update

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()


def test_the_page_lists_every_route_and_no_other(house: House):
    more = (
        *Diagnose(None, None, None, house.worker).routes(),  # type: ignore[arg-type]
        *Ports(None, house.worker).routes(),  # type: ignore[arg-type]
        *Adjust(None, house.worker).routes(),  # type: ignore[arg-type]
        *Update(None, house.worker).routes(),  # type: ignore[arg-type]
        *PolicyRoutes(None, house.worker).routes(),  # type: ignore[arg-type]
    )
    routes = Native(house.controller, house.parts, house.worker, house.leasing, more).routes()
    listed = set(re.findall(r"^\| `((?:GET|POST|PUT|PATCH|DELETE) /[^`]*)`", PAGE, re.MULTILINE))
    assert listed == {f"{route.method} {route.path}" for route in routes}


def test_the_page_lists_every_kind_with_its_status():
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", PAGE, re.MULTILINE))
    assert listed == {kind: str(status) for kind, status in STATUS.items()}
