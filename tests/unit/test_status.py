"""What `provision.py status` says of a server."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from test_plan import FOUND

from cloud.cost.catalogue import NoPrice, Price
from cloud.cost.estimate import Estimate
from cloud.resources import Size
from cloud.status import Status

PRICE = Price(Decimal("0.0104"), None, Decimal("0.2"), "OVH's catalogue of 2026-11-22")
STATUS = Status(
    server=FOUND,
    ours=True,
    others=(),
    age=timedelta(hours=30),
    trouble="",
    pinned=2,
    estimate=Estimate("d2-2", Size(1, 2000, 25), PRICE, None),
    cost="0.32",
)


def test_a_server_that_is_well() -> None:
    assert [f"{what:<10} {how}" for what, how in STATUS.lines()] == [
        "server     koprogo (5c1e)",
        "state      ACTIVE",
        "size       d2-2: 1 vCPU, 2 GB of memory, 25 GB of disk",
        "image      Ubuntu 22.04",
        "addresses  51.75.1.2, 2001:41d0::1",
        "age        1 d 6 h, made 2026-11-01T10:00:00Z",
        "cost       about 0.32 € this month so far, at today's size and price, without VAT",
        "SSH        answers, and lets us in",
        "host keys  2 pinned",
    ]


def test_a_cost_that_is_not_known() -> None:
    unknown = replace(STATUS.estimate, price=NoPrice("there is none for d2-2 in OVH's catalogue of 2026-11-22"))
    said = dict(replace(STATUS, estimate=unknown, cost="").lines())
    assert said["cost"] == "not known; there is none for d2-2 in OVH's catalogue of 2026-11-22"


def test_another_of_the_same_name_is_not_passed_over() -> None:
    two = replace(STATUS, others=(replace(FOUND, id="6d2f", status="SHUTOFF"),))
    assert dict(two.lines())["one more"] == "koprogo (6d2f), d2-2, SHUTOFF, billed too: provision.py plan"
    assert (two.as_data()["more_of_this_name"], STATUS.as_data()["more_of_this_name"]) == (["6d2f"], [])
