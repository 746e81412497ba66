"""What an operator sees of a plan, whole: as text in tests/unit/golden, and as the picture in the README.

After a change that is meant: `python -m pytest tests/unit/test_plan_picture.py --write-golden`, and look at the diff.
"""

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from test_plan import FOUND, KEY

from cloud.cost.carbon import footprint
from cloud.cost.catalogue import Price
from cloud.cost.estimate import Estimate
from cloud.plan import Plan, difference
from cloud.resources import Actual, FoundGroup, Rule, Server, Size, wanted
from cloud.show import show

GOLDEN = Path(__file__).parent / "golden"
PICTURE = Path(__file__).parent.parent.parent / "docs" / "plan.svg"
WANT = wanted(Server("koprogo", "d2-4", "Ubuntu 22.04", "Ext-Net", "koprogo", "koprogo", "production"), KEY)
HTTPS = Rule("ingress", "tcp", "443", "IPv6")
BY_HAND = Rule("ingress", "tcp", "5432", "IPv4")
DRIFTED = Actual(
    key_pair=WANT.key_pair,
    groups=(FoundGroup("6a01", "koprogo", WANT.group.description, WANT.rules - {HTTPS} | {BY_HAND}),),
    servers=(replace(FOUND, groups=frozenset({"default", "koprogo"})),),
    records={
        "known_hosts": "the server was rebuilt: its console shows new keys",
        "inventory.json": "",
    },
    size=Size(2, 4000, 50),
)
PRICE = Price(Decimal("0.0206"), Decimal("11.00"), Decimal("0.2"), "OVH's catalogue of 2026-11-22")


def printed(plan: Plan, width: int = 130) -> Console:
    """A console that has recorded what provision.py prints of a plan."""
    out = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, highlight=False, markup=False)
    show(plan, out)
    for line in Estimate("d2-4", Size(2, 4000, 50), PRICE, footprint(2, 4000, "GRA11")).lines():
        out.print(line)
    return out


@pytest.mark.parametrize(
    ("name", "have", "rebuild"),
    [
        ("nothing-there", Actual(), False),
        ("drifted", DRIFTED, False),
        ("rebuilt", replace(DRIFTED, servers=(replace(DRIFTED.servers[0], flavor="d2-4"),)), True),
    ],
)
def test_the_whole_of_a_plan(request: pytest.FixtureRequest, name: str, have: Actual, rebuild: bool) -> None:
    text = printed(difference(WANT, have, rebuild=rebuild)).export_text()
    file = GOLDEN / f"plan-{name}.txt"
    if request.config.getoption("--write-golden"):
        file.write_text(text)
    assert text == file.read_text()


def test_the_picture_in_the_readme_is_that_of_today(request: pytest.FixtureRequest) -> None:
    svg = printed(difference(WANT, DRIFTED)).export_svg(title="python provision.py plan", unique_id="plan")
    if request.config.getoption("--write-golden"):
        PICTURE.write_text(svg)
    assert svg == PICTURE.read_text()
