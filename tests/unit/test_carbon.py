"""What a server emits: the number, the line, the regions that are known."""

import pytest

from cloud.cost.carbon import COUNTRIES, GRAMS_PER_KWH, footprint


def test_the_line_names_every_assumption() -> None:
    assert str(footprint(1, 2000, "GRA11")) == (
        "about 1.8 kg CO2 a year: 3.7 W (2.12 W a vCPU, 0.392 W a GB, PUE 1.26), France 56 g/kWh in 2023"
    )


def test_the_assumptions_are_data() -> None:
    found = footprint(4, 8000, "WAW1")
    assert found is not None
    assert found.watts == pytest.approx(14.636, abs=0.001)
    assert found.kg_a_year == pytest.approx(84.87, abs=0.01)
    assert (found.country, found.grams_per_kwh, found.year, found.pue) == ("Poland", 662, 2023, 1.26)


@pytest.mark.parametrize(
    ("region", "country"),
    [
        ("GRA", "France"),
        ("GRA7", "France"),
        ("SBG5", "France"),
        ("RBX1", "France"),
        ("EU-WEST-PAR", "France"),
        ("DE1", "Germany"),
        ("UK1", "United Kingdom"),
        ("AP-SOUTH-MUM-1", "India"),
    ],
)
def test_a_region_is_in_its_country(region: str, country: str) -> None:
    found = footprint(1, 2000, region)
    assert found is not None
    assert found.country == country


@pytest.mark.parametrize("region", ["BHS5", "CA-EAST-TOR", "US-EAST-VA-1", "EU-WEST-LZ-BRU-A", "RegionOne", ""])
def test_no_number_is_made_up_for_another_region(region: str) -> None:
    assert footprint(1, 2000, region) is None


def test_every_country_of_a_region_has_its_grams() -> None:
    assert set(COUNTRIES.values()) == set(GRAMS_PER_KWH)
