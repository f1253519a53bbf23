"""`weft network update`, as typed."""

from __future__ import annotations

import json

import pytest

from tests.doors.test_commands import Weft, typing
from tests.serve.house import House


@pytest.fixture
def weft(house: House, capsys: pytest.CaptureFixture[str]) -> Weft:
    house.client.networks.create("front", pools=["10.7.0.0/24"], labels={"a": "1", "b": "2"}, options={"icc": "false"})
    return typing(house, capsys)


def test_what_is_typed_is_what_it_is_then(weft: Weft, house: House):
    code, out, err = weft(
        *("network", "update", "front", "--label", "a=3", "--label-rm", "b", "--opt", "mtu=1400", "--opt-rm", "icc"),
        *("--add-subnet", "10.8.0.0/24", "--gateway", "10.8.0.9", "--ip-range", "10.8.0.128/25", "--ipv6"),
        *("--route", "10.9.0.0/16,10.7.0.5", "--internal"),
    )
    assert (code, out, err) == (0, "front\n", "")
    (network,) = house.client.networks.list()
    assert (network.labels, network.options, network.internal) == ({"a": "3"}, {"mtu": "1400"}, True)
    assert (network.pools[1].subnet, network.pools[1].gateway, network.pools[1].ip_range) == (
        "10.8.0.0/24",
        "10.8.0.9",
        "10.8.0.128/25",
    )
    assert network.ipv6
    assert len(network.routes) == 1
    code, out, _ = weft(
        *("network", "update", "front", "--rm-subnet", "10.8.0.0/24", "--route-rm", "10.9.0.0/16"),
        *("--internal=false", "--name", "shop", "--format", "json"),
    )
    (shown,) = json.loads(out)
    assert (shown["name"], shown["internal"], shown["routes"], len(shown["pools"])) == ("shop", False, [], 2)
    assert weft("network", "update", "shop", "--label", "c", "--format", "{{.Name}} {{.Labels.a}}")[1] == "shop 3\n"


def test_a_slip_is_told_and_changes_nothing(weft: Weft, house: House):
    before = house.client.networks.list()
    for words, said in (
        ((), "what is to change?"),
        (("--label", "a=1", "--label-rm", "a"), "--label-rm a: it is set as well; which of the two?"),
        (("--opt-rm", "mtu"), "no such option of network 'front': 'mtu'"),
        (("--opt", "bridge=br0"), "option bridge of network 'front' cannot change while the network is there"),
        (("--route", "10.9.0.0/16"), "write DESTINATION,GATEWAY"),
        (("--gateway", "10.8.0.1"), "has to be named"),
    ):
        code, out, err = weft("network", "update", "front", *words)
        assert code != 0
        assert out == ""
        assert said in err
    assert "did you mean 'front'" in weft("network", "update", "fornt", "--ipv6")[2]
    assert house.client.networks.list() == before


def test_it_is_completed(weft: Weft):
    def offered(*words: str) -> list[str]:
        return [line.split("\t")[0] for line in weft("__complete", "--", "network", *words)[1].splitlines()]

    assert "update" in offered("up")
    assert offered("update", "f") == ["front"]
    assert offered("update", "front", "--label-") == ["--label-rm"]
    assert offered("update", "front", "--opt", "mt") == ["mtu="]
