"""Checks of weft's own state, and the report as a whole."""

from __future__ import annotations

import msgspec
import pytest

from tests.explain.health.hosts import HOST, OWN, chain, host, own
from weft.explain.health.checks import examine
from weft.explain.health.facts import Loss, OwnFacts
from weft.explain.health.text import render_report
from weft.explain.text import Look

LOSS = Loss(owner="container web", items=("default via 10.7.0.1 dev eth0", "lo is up", "a", "b", "c"))


@pytest.mark.parametrize(
    ("facts", "check", "level", "what"),
    [
        (
            own(losses=(LOSS,)),
            "records",
            "error",
            "container web lacks default via 10.7.0.1 dev eth0, lo is up, a and 2 more",
        ),
        (own(firewall=False), "firewall", "error", "table inet weft is gone"),
        (own(leftovers=("link wb-000000000000",)), "leftovers", "warning", "link wb-000000000000"),
        (own(resolver_pid=None), "resolver", "error", "name server does not run"),
        (own(silent="web"), "resolver", "error", "does not answer in container web"),
    ],
    ids=["drift", "table", "leftovers", "dead resolver", "silent resolver"],
)
def test_what_is_wrong_with_wefts_own_can_be_fixed(facts: OwnFacts, check: str, level: str, what: str):
    [finding] = [f for f in examine(HOST, facts).findings if f.level != "ok"]
    assert (finding.check, finding.subject, finding.level) == (check, "weft", level)
    assert what in finding.what
    assert finding.fixable
    assert finding.mend == ("weft doctor --fix",)


def test_rules_of_ones_own_that_nft_refuses_are_for_the_user_to_mend():
    [finding] = [f for f in examine(HOST, own(refused_rules="forward.nft: nft refuses")).findings if f.level != "ok"]
    assert (finding.check, finding.level, finding.fixable) == ("rules", "warning", False)
    assert "forward.nft: nft refuses" in finding.what


@pytest.mark.parametrize("hands_over", [True, False])
def test_rules_on_bridges_that_do_not_see_what_is_handed_over_are_named(*, hands_over: bool):
    facts = own(guard="programs on their ports", hands_over=hands_over)
    found = [f for f in examine(host(bridge_tables=("filter", "wall")), facts).findings if f.level != "ok"]
    assert [(f.check, f.level, f.fixable) for f in found] == ([("guard", "note", False)] if hands_over else [])
    assert all(f.what.startswith("table bridge filter, table bridge wall: its rules do not see") for f in found)


def test_where_bridged_frames_are_shown_to_the_firewall_rules_on_bridges_see_them_all():
    facts = own(guard="programs on their ports", hands_over=True)
    shown = host(bridge_tables=("wall",), sysctls={"net.bridge.bridge-nf-call-iptables": "1"})
    assert "guard" not in [f.check for f in examine(shown, facts).findings if f.level != "ok"]


def test_a_container_without_namespace_is_for_the_user_to_remove():
    [finding] = [f for f in examine(HOST, own(lost_namespaces=("web",))).findings if f.level != "ok"]
    assert not finding.fixable
    assert finding.mend == ("weft rm -f web",)


def test_counters_are_shown_and_handed_on():
    report = examine(HOST, own(counters={"queries": 7, "local": 5, "forwarded": 2, "failed": 0, "views": 3}))
    [answering] = [f for f in report.findings if f.check == "resolver"]
    assert answering.what == "the name server answers (process 77); so far 7 queries, 5 local, 2 forwarded, 0 failed"
    assert report.counters["views"] == 3


@pytest.mark.parametrize(
    ("forwarded", "failed", "level"), [(9, 9, "ok"), (10, 5, "ok"), (10, 6, "warning"), (1000, 1000, "warning")]
)
def test_servers_that_do_not_answer_are_found(forwarded: int, failed: int, level: str):
    report = examine(HOST, own(counters={"forwarded": forwarded, "failed": failed}))
    assert report.worst == level
    if level == "warning":
        [finding] = [f for f in report.findings if f.level != "ok"]
        assert finding.what == f"of {forwarded} names asked of 192.0.2.53, {failed} had no answer"
        assert not finding.fixable


def test_errors_of_the_name_server_are_found():
    [finding] = [f for f in examine(HOST, own(counters={"errors": 2})).findings if f.level != "ok"]
    assert (finding.level, finding.check) == ("warning", "resolver-errors")


@pytest.mark.parametrize(
    ("counters", "lacking"),
    [
        ({"seccomp": 1, "landlock": 7}, ()),
        ({"seccomp": 0, "landlock": 7}, ("seccomp",)),
        ({"seccomp": 1, "landlock": 0}, ("Landlock",)),
        ({"seccomp": 0, "landlock": 0}, ("seccomp", "Landlock")),
    ],
)
def test_a_name_server_that_is_not_shut_in_is_found(counters: dict[str, int], lacking: tuple[str, ...]):
    findings = [f for f in examine(HOST, own(counters=counters)).findings if f.level != "ok"]
    assert len(findings) == bool(lacking)
    for finding in findings:
        assert (finding.level, finding.check) == ("warning", "resolver-sandbox")
        assert all(word in finding.what for word in lacking)


def rendered(report: object, **look: object) -> str:
    document = msgspec.json.decode(msgspec.json.encode(report))
    return render_report(document, Look(width=100, **look))


def test_a_good_report_ends_well():
    text = rendered(examine(HOST, OWN))
    assert text.endswith("\n\n✓ Nothing is wrong.\n")
    assert "  ✓ the host forwards IPv4\n" in text


def test_findings_are_shown_with_reason_and_commands():
    text = rendered(examine(host(chains=(chain(),)), own(firewall=False)))
    assert "  ✗ error: iptables drops forwarded packets (chain FORWARD of table ip filter)\n" in text
    assert "      $ iptables -I FORWARD -i wb-+ -j ACCEPT\n" in text
    assert text.endswith("✗ 2 errors. 'weft doctor --fix' mends 1 of them.\n")


def test_where_weft_can_fix_nothing_it_says_so():
    text = rendered(examine(host(chains=(chain(),)), OWN))
    assert text.endswith("✗ 1 error. weft leaves what is not its own to you.\n")


def test_a_report_can_be_ascii():
    assert rendered(examine(host(chains=(chain(),)), own(firewall=False)), unicode=False).isascii()
