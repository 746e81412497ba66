"""Prices: what is taken out of OVH's catalogue, where they come from when it cannot be had, and what a month costs."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ovh_stand_in import Api

from cloud.cost import catalogue
from cloud.cost.catalogue import NoPrice, Price, cost_so_far, no_price_in, price
from cloud.cost.estimate import Estimate
from cloud.cost.price_list import FlavorPrice, PriceList, dump, parse, restore
from cloud.resources import Size

TODAY = date(2026, 11, 22)
D2_2 = Price(Decimal("0.0104"), Decimal("5.49"), Decimal("0.2"), "")
AFRICA = ("b3-8.consumption.LZ.AF", 9300000)


def plan(code: str, value: Any, unit: str = "hour", **other: Any) -> dict[str, Any]:
    pricing = {"price": value, "interval": 1, "intervalUnit": unit, "mode": "default"}
    return {"planCode": code, "product": "publiccloud-instance", "pricings": [pricing]} | other


def whole(*addons: Any, currency: Any = "EUR", tax: Any = 20) -> dict[str, Any]:
    return {"locale": {"currencyCode": currency, "subsidiary": "FR", "taxRate": tax}, "addons": list(addons)}


D2_2_PLAN = plan("d2-2.consumption", 1040000)


# -- the catalogue ---------------------------------------------------------------------------------------------------


def test_hourly_and_monthly_prices_are_taken_and_nothing_else() -> None:
    month = plan("d2-2.monthly.postpaid", 549000000, "month")
    volume = plan("volume.classic.consumption", 5900, product="publiccloud-volume-classic")
    found = parse(whole(plan(*AFRICA), month, plan("b3-8.consumption.3AZ", 1), volume, D2_2_PLAN), TODAY)
    assert found == PriceList({"d2-2": FlavorPrice(Decimal("0.0104"), Decimal("5.49"))}, Decimal("0.2"), TODAY)


def test_prices_have_no_zeros_at_the_end() -> None:
    found = parse(whole(D2_2_PLAN), TODAY).flavors["d2-2"]
    assert f"{found.hourly:f}" == "0.0104"


def test_a_flavor_whose_name_has_a_dot() -> None:
    assert list(parse(whole(plan("metal.eg-256.consumption", 7)), TODAY).flavors) == ["metal.eg-256"]


@pytest.mark.parametrize(
    "broken",
    [
        plan("d2-2.consumption", 0),
        plan("d2-2.consumption", -1040000),
        plan("d2-2.consumption", "1040000"),
        plan("d2-2.consumption", True),
        plan("d2-2.consumption", None),
        plan("d2-2.consumption", [1]),
        plan("d2-2.consumption", Decimal("0.0104")),
        plan("d2-2.consumption", 10**13),
        plan("d2-2.consumption", 549000000, "month"),
        plan("d2-2.consumption", 1040000, pricings=[]),
        plan("d2-2.consumption", 1040000, pricings=None),
        plan("d2-2.consumption", 1040000, pricings=["1040000"]),
        plan("d2-2.consumption", 1040000, product="publiccloud-instance-option"),
        plan("d2-2.consumption", 1040000, pricings=[*D2_2_PLAN["pricings"], *plan("", 1)["pricings"]]),
        {"planCode": ["d2-2.consumption"], "product": "publiccloud-instance"},
        "d2-2.consumption",
    ],
)
def test_a_price_that_is_not_clear_is_left_out(broken: Any) -> None:
    assert list(parse(whole(broken, plan("d2-4.consumption", 2060000)), TODAY).flavors) == ["d2-4"]


def test_a_commitment_beside_the_price_of_an_hour_is_not_taken() -> None:
    upfront = {"price": 9, "interval": 1, "intervalUnit": "hour", "mode": "upfront12"}
    both = plan("d2-2.consumption", 0, pricings=[upfront, *D2_2_PLAN["pricings"]])
    assert parse(whole(both), TODAY).flavors["d2-2"] == FlavorPrice(Decimal("0.0104"))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ([], "it has an unknown form"),
        ({"addons": [D2_2_PLAN]}, "it has an unknown form"),
        ({"class": "Client::BadRequest", "message": "invalid ovhSubsidiary"}, "it has an unknown form"),
        (whole(D2_2_PLAN, currency="GBP"), "its prices are not in EUR"),
        (whole(D2_2_PLAN, tax=None), "it has no rate of VAT"),
        (whole(D2_2_PLAN, tax="20"), "it has no rate of VAT"),
        (whole(D2_2_PLAN, tax=-1), "it has no rate of VAT"),
        (whole(D2_2_PLAN, tax=2000), "it has no rate of VAT"),
        (whole(), "it has no prices of instances"),
        (whole(plan("d2-2.consumption", 0)), "it has no prices of instances"),
    ],
)
def test_what_is_no_catalogue_is_refused_with_the_reason(broken: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        parse(broken, TODAY)


def test_what_is_kept_is_read_again_as_it_was() -> None:
    kept = PriceList(
        {"a": FlavorPrice(Decimal("0.0104"), Decimal("5.49")), "b": FlavorPrice(Decimal(1))}, Decimal("0.2"), TODAY
    )
    assert restore(dump(kept)) == kept


# -- where a price comes from ----------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "of the user"


NOWHERE = "http://127.0.0.1:9/1.0"


def source(found: Price | NoPrice) -> str:
    assert isinstance(found, Price)
    return found.source


@pytest.mark.parametrize(
    ("flavor", "hourly", "monthly"),
    [("d2-2", "0.0104", "5.49"), ("d2-4", "0.0206", "11"), ("d2-8", "0.0372", "19.8"), ("b3-8", "0.0512", None)],
)
def test_a_price_from_the_catalogue(api: Api, cache: Path, flavor: str, hourly: str, monthly: str | None) -> None:
    found = price(flavor, api.url, cache, TODAY)
    month = Decimal(monthly) if monthly else None
    assert found == Price(Decimal(hourly), month, Decimal("0.2"), "OVH's catalogue of 2026-11-22")


@pytest.mark.parametrize(
    ("hourly", "vat", "month", "with_vat"),
    [
        ("0.0104", "0.2", "7.59", "9.11"),
        ("0.0206", "0.2", "15.04", "18.05"),
        ("0.0512", "0", "37.38", "37.38"),
        ("0.0105", "0.21", "7.67", "9.27"),
    ],
)
def test_a_month_by_the_hour(hourly: str, vat: str, month: str, with_vat: str) -> None:
    found = Price(Decimal(hourly), None, Decimal(vat), "")
    assert (str(found.month), str(found.month_with_vat)) == (month, with_vat)


def test_an_unknown_flavor_has_no_price(api: Api, cache: Path) -> None:
    none = "there is none for d2-3 in OVH's catalogue of 2026-11-22"
    assert price("d2-3", api.url, cache, TODAY) == NoPrice(none)
    assert price("d2-3", api.url, cache, TODAY) == NoPrice(f"{none}, kept on this machine")
    for flavor in ("d2-3", "vat"):
        assert price(flavor, NOWHERE, cache, TODAY) == NoPrice(
            f"there is none for {flavor} in the table in this package; OVH's catalogue cannot be reached"
            " (no connection)"
        )


@pytest.mark.parametrize("region", ["EU-WEST-PAR", "EU-SOUTH-MIL", "EU-WEST-LZ-BRU-A", "AF-NORTH-LZ-RBA-A"])
def test_regions_with_prices_of_their_own_get_none_of_another(region: str) -> None:
    assert no_price_in(region) == NoPrice(
        f"{region} has prices of its own, and only those of regions such as GRA11 are looked up"
    )
    assert no_price_in("GRA11") is None


def test_that_a_price_is_not_known_is_said_with_the_reason() -> None:
    found = Estimate("d2-3", Size(1, 2000, 25), NoPrice("there is none for d2-3 anywhere"), None)
    assert list(found.lines()) == [
        "d2-3: 1 vCPU, 2 GB of memory, 25 GB of disk",
        "Price: not known; there is none for d2-3 anywhere",
        "CO2: not known for this region",
    ]
    assert (found.as_data()["price"], found.as_data()["price_not_known"]) == (None, "there is none for d2-3 anywhere")


def test_what_was_kept_is_used_for_a_week_and_then_asked_again(api: Api, cache: Path) -> None:
    price("d2-2", api.url, cache, date(2026, 11, 20))
    kept = "OVH's catalogue of 2026-11-20, kept on this machine"
    assert source(price("d2-2", api.url, cache, date(2026, 11, 26))) == kept
    assert source(price("d2-2", api.url, cache, date(2026, 11, 27))) == "OVH's catalogue of 2026-11-27"
    assert (
        source(price("d2-2", api.url, cache, date(2026, 11, 26))) == "OVH's catalogue of 2026-11-26"
    )  # from the future


def test_what_is_old_is_used_when_the_catalogue_is_out_of_reach(api: Api, cache: Path) -> None:
    price("d2-2", api.url, cache, date(2026, 10, 1))
    api.stop()
    found = price("d2-2", api.url, cache, TODAY)
    assert found == Price(
        Decimal("0.0104"),
        Decimal("5.49"),
        Decimal("0.2"),
        "OVH's catalogue of 2026-10-01, kept on this machine; it cannot be reached now (no connection)",
    )


def test_each_endpoint_has_its_own_prices(api: Api, cache: Path) -> None:
    price("d2-2", api.url, cache, TODAY)
    assert source(price("d2-2", NOWHERE, cache, TODAY)).startswith("the table of August 2026 in this package;")


@pytest.mark.parametrize(
    ("flavor", "hourly"), [("d2-2", "0.0104"), ("d2-4", "0.0206"), ("d2-8", "0.0372"), ("b3-8", "0.0512")]
)
def test_the_table_is_the_last_resort(cache: Path, flavor: str, hourly: str) -> None:
    assert price(flavor, NOWHERE, cache, TODAY) == Price(
        Decimal(hourly),
        None,
        Decimal("0.20"),
        "the table of August 2026 in this package; OVH's catalogue cannot be reached (no connection)",
    )


@pytest.mark.parametrize("endpoint", ["ovh-ca", "ovh-us"])
def test_accounts_that_pay_in_other_currencies_get_no_price_in_euros(endpoint: str, cache: Path) -> None:
    assert price("d2-2", endpoint, cache, TODAY) == NoPrice(
        f"accounts of {endpoint} pay in another currency, and only OVH's prices in euros are looked up"
    )


@pytest.mark.parametrize("endpoint", ["", "ovh-mars", "http://", "http://[::1", "gopher://x/1.0", "http://\x00/"])
def test_an_endpoint_that_is_none_is_out_of_reach(endpoint: str, cache: Path) -> None:
    assert source(price("d2-2", endpoint, cache, TODAY)).startswith("the table of August 2026")


def test_a_cache_that_cannot_be_written_is_done_without(api: Api, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert source(price("d2-2", api.url, tmp_path / "file", TODAY)) == "OVH's catalogue of 2026-11-22"


GOOD = {"date": "2026-11-22", "vat": "0.2", "flavors": {"d2-2": ["0.5", None]}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\udcff",
        "{",
        "null",
        "[]",
        "[" * 100_000,
        json.dumps(GOOD | {"date": "yesterday"}),
        json.dumps(GOOD | {"date": 20261122}),
        json.dumps(GOOD | {"vat": "NaN"}),
        json.dumps(GOOD | {"vat": "20"}),
        json.dumps(GOOD | {"flavors": []}),
        json.dumps(GOOD | {"flavors": {"d2-2": "0.5"}}),
        json.dumps(GOOD | {"flavors": {"d2-2": ["0", None]}}),
        json.dumps(GOOD | {"flavors": {"d2-2": ["1e30", None]}}),
        json.dumps(GOOD | {"flavors": {"d2-2": ["Infinity", None]}}),
        json.dumps(GOOD | {"flavors": {"d2-2": ["0.5", "cheap"]}}),
        json.dumps(GOOD | {"flavors": {"d2-2": ["0.5"]}}),
    ],
)
def test_a_broken_cache_is_as_none_and_mended(api: Api, cache: Path, text: str) -> None:
    price("d2-2", api.url, cache, TODAY)
    (file,) = cache.iterdir()
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert source(price("d2-2", api.url, cache, TODAY)) == "OVH's catalogue of 2026-11-22"
    assert source(price("d2-2", api.url, cache, TODAY)) == "OVH's catalogue of 2026-11-22, kept on this machine"


def test_a_cache_that_is_whole_is_used(api: Api, cache: Path) -> None:
    price("d2-2", api.url, cache, TODAY)
    (file,) = cache.iterdir()
    file.write_text(json.dumps(GOOD))
    found = price("d2-2", api.url, cache, TODAY)
    assert isinstance(found, Price)
    assert (found.hourly, found.monthly) == (Decimal("0.5"), None)


# -- a catalogue that is not as it should be -------------------------------------------------------------------------


@pytest.fixture
def web() -> Iterator[Callable[[int, bytes], str]]:
    """A function that serves one answer and returns the base URL."""
    running = []

    def serve(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/1.0"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, b"<html>busy</html>", "it answers 503"),
        (400, b'{"message": "invalid ovhSubsidiary"}', "it answers 400"),
        (200, b"<html>Please log in to the hotel's network</html>", "it answers something that is not JSON"),
        (200, b"", "it answers something that is not JSON"),
        (200, b"\xff\xfe\x00", "it answers something that is not JSON"),
        (200, b"[" * 100_000, "it answers something that is not JSON"),
        (200, b"[]", "it has an unknown form"),
        (200, b"{}", "it has an unknown form"),
        (200, b'{"locale": [], "addons": {}}', "it has an unknown form"),
        (200, b'{"locale": {"taxRate": 1e99999999999999999999}}', "it has a number that is none"),
        (200, json.dumps(whole(D2_2_PLAN, currency="CAD")).encode(), "its prices are not in EUR"),
        (200, json.dumps(whole(plan("d2-2.consumption", 0))).encode(), "it has no prices of instances"),
    ],
)
def test_any_other_answer_leads_to_the_table(
    web: Callable[[int, bytes], str], cache: Path, status: int, body: bytes, why: str
) -> None:
    found = price("d2-2", web(status, body), cache, TODAY)
    assert source(found) == f"the table of August 2026 in this package; OVH's catalogue cannot be reached ({why})"
    assert not cache.exists()


def test_an_answer_that_is_too_long_is_given_up(
    web: Callable[[int, bytes], str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LARGEST", 100_000)
    assert "(its answer does not end)" in source(price("d2-2", web(200, b" " * 200_000), cache, TODAY))


def test_a_rate_of_vat_with_a_fraction(web: Callable[[int, bytes], str], cache: Path) -> None:
    found = price("d2-2", web(200, json.dumps(whole(D2_2_PLAN, tax=25.5)).encode()), cache, TODAY)
    assert isinstance(found, Price)
    assert found.vat == Decimal("0.255")


@pytest.mark.parametrize("trickle", [b"", b"H", b"HTTP/1.1 200 OK\r\n"])
def test_silence_and_a_trickle_are_given_up_in_time(
    cache: Path, monkeypatch: pytest.MonkeyPatch, trickle: bytes
) -> None:
    monkeypatch.setattr(catalogue, "SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(trickle)
                for _ in range(20):
                    time.sleep(0.05)
                    connection.sendall(b"x" if trickle else b"")

        threading.Thread(target=drip, daemon=True).start()
        start = time.monotonic()
        found = price("d2-2", f"http://127.0.0.1:{listener.getsockname()[1]}/1.0", cache, TODAY)
        assert time.monotonic() - start < 2
    assert "(it does not answer in time)" in source(found)


# -- this month ------------------------------------------------------------------------------------------------------


def at(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "now", "cost"),
    [
        (at(22, 10), at(22, 10, 1), "0.01"),
        (at(22, 10), at(22, 11), "0.01"),
        (at(22, 10), at(22, 11, 1), "0.02"),
        (at(20, 12), at(22, 12), "0.50"),
        (at(3, month=9), at(11), "2.50"),
        (at(3, month=9), at(1), "0.00"),
        (at(22, 10), at(22, 9), "0.00"),
        (at(1).astimezone(timezone(timedelta(hours=2))), at(11).astimezone(timezone(timedelta(hours=-5))), "2.50"),
    ],
)
def test_cost_so_far(created: datetime, now: datetime, cost: str) -> None:
    assert str(cost_so_far(D2_2, created, now)) == cost
