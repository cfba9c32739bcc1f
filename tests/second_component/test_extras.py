"""The things that a component has beyond Convex, each used by a component that is not the workflow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexpyError, components
from convexpy.runtime import deployment
from convexpy.testing import TestBackend

SHOP = Path(__file__).parent / "shop_app"


@pytest.fixture
def shop() -> Iterator[TestBackend]:
    """An app with two couriers."""
    with TestBackend(SHOP) as shop:
        yield shop


def send(shop: TestBackend, text: str, to: str = "ann") -> str:
    return str(shop.mutation(components.courier.parcels.send, {"to": to, "text": text}))


def states(shop: TestBackend) -> list[str]:
    return [parcel["state"] for parcel in shop.query(components.courier.parcels.all_parcels)]


def test_on_complete_tells_the_component_how_it_went(shop: TestBackend) -> None:
    send(shop, "book")
    send(shop, "bomb")
    shop.run_all_scheduled()

    assert states(shop) == ["delivered", "lost"]


def test_on_complete_that_fails_in_the_parent_is_tried_again(shop: TestBackend, tmp_path: Path) -> None:
    """The callback is gone for a while; what the function itself did stands, and nothing is told twice."""
    shop.mutation("shop:order", {"to": "ann", "text": "spare"})
    without = tmp_path / "shop_without_callback"
    without.mkdir()
    (without / "convex_config.py").write_text((SHOP / "convex_config.py").read_text())
    shop.push(without)
    shop.advance(62)
    assert (states(shop), shop.query(components.courier.parcels.stored)) == (["carried"], ["spare"])
    [parcel] = shop.run(lambda ctx: ctx.db.query("parcels").collect(), component="courier")
    assert parcel["trouble"].startswith("3: ") and "Could not find function for 'shop:delivered'" in parcel["trouble"]

    shop.push(SHOP)
    shop.run_all_scheduled()

    assert (states(shop), shop.query(components.courier.parcels.stored)) == (["delivered"], ["spare"])
    assert len(shop.run(lambda ctx: ctx.db.query("parcels").collect())) == 1


def test_a_lane_keeps_the_order_of_an_address(shop: TestBackend) -> None:
    for number in range(5):
        shop.mutation("shop:order", {"to": "ann", "text": str(number)})
    shop.run_all_scheduled()

    told = shop.run(lambda ctx: [row["parcel"] for row in ctx.db.query("parcels")])
    sent = shop.run(lambda ctx: [row["_id"] for row in ctx.db.query("parcels")], component="courier")
    assert told == sent


def receipts(shop: TestBackend) -> list[list[str]]:
    return shop.run(lambda ctx: [row["lines"] for row in ctx.db.query("receipts")], component="courier")


def test_what_completes_together_is_told_at_once(shop: TestBackend) -> None:
    """A function that fails takes only its own writes along."""
    shop.mutation(components.courier.parcels.send_all, {"to": "ann", "texts": ["book", "bomb", "lamp"]})
    shop.run_all_scheduled()

    assert receipts(shop) == [["book: success", "bomb: failed", "lamp: success"]]


def test_one_alone_completes_as_ever(shop: TestBackend) -> None:
    shop.mutation(components.courier.parcels.send_all, {"to": "ann", "texts": ["book"]})
    shop.run_all_scheduled()

    assert receipts(shop) == [["book: success"]]


def test_functions_that_need_no_commit_between_them_share_one(shop: TestBackend) -> None:
    """A bomb fails alone. A spare part goes into the depot, of which a tour keeps clear; once that has been seen, each
    delivery has its own commit."""
    stops = [{"to": "ann", "text": text} for text in ("book", "bomb", "lamp", "spare", "pen")]
    shop.mutation(components.courier.parcels.tour, {"stops": stops})
    shop.run_all_scheduled()

    assert receipts(shop) == [["success", "failed", "success"], ["success"], ["success"]]
    assert shop.query(components.courier.parcels.stored) == ["spare"]


def test_lanes_and_queues_of_two_installations_are_apart(shop: TestBackend) -> None:
    shop.mutation(components.courier.parcels.hire_vans, {"count": 0})
    send(shop, "book")
    shop.mutation(components.express.parcels.send, {"to": "ann", "text": "book"})
    shop.run_all_scheduled()

    assert states(shop) == ["carried"]
    assert [parcel["state"] for parcel in shop.query(components.express.parcels.all_parcels)] == ["delivered"]


def test_a_queue_stands_still_until_it_has_a_van(shop: TestBackend) -> None:
    shop.mutation(components.courier.parcels.hire_vans, {"count": 0})
    for to in ("ann", "bob"):
        send(shop, "book", to)
    shop.advance(3600)
    assert states(shop) == ["carried", "carried"]

    shop.mutation(components.courier.parcels.hire_vans, {"count": 1})
    shop.advance()

    assert states(shop) == ["delivered", "delivered"]


def test_before_push_shows_its_findings(shop: TestBackend) -> None:
    assert shop.push().findings == []
    send(shop, "book")
    send(shop, "vase")

    pushed = shop.push()
    assert pushed.findings == ["2 parcels are on their way"]
    assert pushed.describe().splitlines()[1:] == ["2 parcels are on their way"]


def test_what_before_push_names_runs_after_the_switch(shop: TestBackend) -> None:
    def looks() -> int:
        return shop.run(lambda ctx: len(ctx.db.query("looks").collect()), component="courier")

    shop.push()
    assert looks() == 0
    send(shop, "book")

    shop.push()

    assert looks() == 1


def test_before_push_may_go_on_for_some_seconds(shop: TestBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    send(shop, "book")
    monkeypatch.setattr(deployment, "BEFORE_PUSH_SECONDS_MAX", 0.0)

    assert shop.push().findings == ["Component 'courier' had more to look at than 0 s allow."]


def test_before_push_may_refuse_and_then_nothing_has_changed(shop: TestBackend, tmp_path: Path) -> None:
    shop.mutation(components.courier.parcels.mark_fragile, {"parcel": send(shop, "vase")})
    other = tmp_path / "other_shop"
    other.mkdir()
    (other / "convex_config.py").write_text((SHOP / "convex_config.py").read_text())

    with pytest.raises(ConvexpyError, match="Component 'courier' refuses this push: 1 parcels are on their way"):
        shop.push(other)

    assert shop.mutation("shop:order", {"to": "ann", "text": "still there"})
    shop.run_all_scheduled()
    shop.push(other)
    missing: Any = shop.outcome("mutation", "shop:order")
    assert "Could not find function for 'shop:order'" in missing.error
