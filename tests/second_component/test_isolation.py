"""What a component keeps to itself, and what passes between it and its parent. Source: runtime-semantics 6."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convexpy import ConvexError, ConvexpyError, MutationCtx, components, create_function_handle, internal
from convexpy.functions.application import load_application
from convexpy.testing import TestBackend
from tests.second_component.courier import parcels as courier_parcels

SHOP = Path(__file__).parent / "shop_app"


@pytest.fixture
def shop() -> Iterator[TestBackend]:
    """An app with two couriers, each of which has a depot."""
    with TestBackend(SHOP) as shop:
        yield shop


def send(shop: TestBackend, courier: Any, text: str, to: str = "ann") -> str:
    """Send a parcel as the app does."""
    return str(shop.run(lambda ctx: ctx.run_mutation(courier.parcels.send, {"to": to, "text": text})))


def texts(shop: TestBackend, courier: Any) -> list[str]:
    return [parcel["text"] for parcel in shop.query(courier.parcels.all_parcels)]


# --- tables


def test_two_installations_and_the_parent_have_tables_of_their_own(shop: TestBackend) -> None:
    shop.run(lambda ctx: ctx.db.insert("parcels", {"of": "the shop"}))
    send(shop, components.courier, "slow")
    send(shop, components.express, "fast")

    assert texts(shop, components.courier) == ["slow"]
    assert texts(shop, components.express) == ["fast"]
    assert shop.run(lambda ctx: [row["of"] for row in ctx.db.query("parcels")]) == ["the shop"]


def test_an_id_of_a_component_is_unknown_elsewhere(shop: TestBackend) -> None:
    parcel = send(shop, components.courier, "slow")
    own = shop.run(lambda ctx: ctx.db.insert("orders", {}))

    assert shop.query(components.courier.parcels.one, {"parcel": parcel})["text"] == "slow"
    assert shop.run(lambda ctx: ctx.db.get(parcel)) is None
    assert shop.query(components.express.parcels.one, {"parcel": parcel}) is None
    assert shop.query(components.courier.parcels.one, {"parcel": own}) is None
    assert shop.run(lambda ctx: ctx.db.normalize_id("parcels", parcel)) is None


def test_an_id_of_another_namespace_is_no_id_of_a_table(shop: TestBackend) -> None:
    """The app's second table has a number that the component has given to none of its own."""
    shop.run(lambda ctx: ctx.db.insert("first", {}))
    foreign = shop.run(lambda ctx: ctx.db.insert("second", {}))

    with pytest.raises(ConvexpyError, match="ArgumentValidationError"):
        shop.query(components.courier.parcels.checked, {"parcel": foreign})


def test_writes_of_the_parent_cannot_reach_a_row_of_a_child(shop: TestBackend) -> None:
    parcel = send(shop, components.courier, "slow")

    with pytest.raises(ConvexpyError, match="Update on nonexistent document ID"):
        shop.run(lambda ctx: ctx.db.patch(parcel, {"text": "changed"}))
    with pytest.raises(ConvexpyError, match="Delete on nonexistent document ID"):
        shop.run(lambda ctx: ctx.db.delete(parcel))


def test_a_component_checks_its_own_schema(shop: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match='Failed to insert or update a document in table "parcels"'):
        shop.run(lambda ctx: ctx.db.insert("parcels", {"of": "the shop"}), component="courier")

    assert (
        shop.run(lambda ctx: ctx.db.query("parcels").with_index("by_to", to="ann").collect(), component="courier") == []
    )


def test_paginate_is_for_the_app_only(shop: TestBackend) -> None:
    with pytest.raises(ConvexpyError, match=r"paginate\(\) is only supported in the app"):
        shop.query(components.courier.parcels.a_page)


# --- who may call what


def test_clients_cannot_call_functions_of_components(shop: TestBackend) -> None:
    for component in ("courier", "express", "courier/depot"):
        outcome = shop.outcome("query", "parcels:all_parcels", component=component, is_admin=False)

        assert "Could not find public function for 'parcels:all_parcels'." in outcome.error


def test_a_parent_calls_public_functions_of_direct_children_only(shop: TestBackend) -> None:
    def call(reference: Any) -> None:
        shop.run(lambda ctx: ctx.run_mutation(reference, {}))

    with pytest.raises(ConvexpyError, match="Component \"courier\" does not export 'parcels:deliver'"):
        call(components.courier.parcels.deliver)
    with pytest.raises(ConvexpyError, match='Child component "depot" not found'):
        call(components.depot.shelves.put)
    with pytest.raises(ConvexpyError, match="Could not find function for 'parcels:nowhere'"):
        call(components.courier.parcels.nowhere)
    with pytest.raises(ConvexpyError, match="it is defined as Query"):
        call(components.courier.parcels.all_parcels)


def test_a_function_object_of_another_component_is_refused_and_handles_are_named(shop: TestBackend) -> None:
    args = {"to": "ann", "text": "x"}

    with pytest.raises(ConvexpyError, match=r"function of another component.*create_function_handle\(send\)"):
        shop.run(lambda ctx: ctx.run_mutation(courier_parcels.send, args))
    with pytest.raises(ConvexpyError, match="function of another component"):
        shop.run(lambda ctx: ctx.scheduler.run_after(0, courier_parcels.send, args))


def test_nobody_is_logged_in_inside_a_component(shop: TestBackend) -> None:
    ann = shop.with_identity({"subject": "ann"})

    assert ann.query(components.courier.parcels.who) is None


# --- handles


def test_a_handle_is_stable_and_names_one_installation(shop: TestBackend) -> None:
    slow = shop.query(components.courier.parcels.handle_of_send)
    fast = shop.query(components.express.parcels.handle_of_send)
    shop.push()
    shop.restart()

    assert shop.query(components.courier.parcels.handle_of_send) == slow
    assert slow.startswith("function://") and slow != fast
    shop.run(lambda ctx: ctx.run_mutation(fast, {"to": "ann", "text": "by handle"}))
    assert (texts(shop, components.courier), texts(shop, components.express)) == ([], ["by handle"])


def test_a_child_calls_its_parent_through_a_handle_that_it_was_given(shop: TestBackend) -> None:
    parcel = shop.mutation("shop:order", {"to": "ann", "text": "book"})
    shop.run_all_scheduled()

    (row,) = shop.run(lambda ctx: ctx.db.query("parcels").collect())
    assert (row["parcel"], row["outcome"]) == (parcel, {"kind": "success", "value": "at ann"})
    assert [parcel["state"] for parcel in shop.query(components.courier.parcels.all_parcels)] == ["delivered"]


@pytest.mark.parametrize("handle", ["function://99/parcels:send", "function://x/parcels:send", "function://0/no:where"])
def test_a_handle_of_nothing_is_refused(shop: TestBackend, handle: str) -> None:
    with pytest.raises(ConvexpyError, match=r"not mounted|Function handle not found|Could not find function"):
        shop.run(lambda ctx: ctx.run_mutation(handle, {}))


def test_calls_to_and_fro_are_bounded_in_depth(shop: TestBackend) -> None:
    def play(depth: int) -> Any:
        def begin(ctx: MutationCtx) -> Any:
            handle = create_function_handle(internal.shop.bounce)
            return ctx.run_mutation(components.courier.parcels.bounce, {"callback": handle, "depth": depth})

        return shop.run(begin)

    assert play(5) == "caught"  # two more than that: `run` itself, and the catch at depth 0
    with pytest.raises(ConvexpyError, match="Cross component call depth limit exceeded"):
        play(7)


# --- one transaction


def test_a_failing_child_that_is_caught_is_rolled_back_alone(shop: TestBackend) -> None:
    """Its rows, the table it made, the job it scheduled, and what its own child wrote."""

    def attempt(ctx: MutationCtx) -> Any:
        ctx.db.insert("orders", {"text": "kept"})
        ctx.run_mutation(components.courier.parcels.send, {"to": "ann", "text": "kept"})
        try:
            ctx.run_mutation(components.courier.parcels.write_and_fail)
        except ConvexError as error:
            return error.data
        return "it did not fail"

    assert shop.run(attempt) == {"reason": "on purpose"}
    shop.run_all_scheduled()

    assert shop.query(components.courier.parcels.all_parcels) == [{"to": "ann", "text": "kept", "state": "delivered"}]
    assert shop.query(components.courier.parcels.stored) == []
    assert shop.run(lambda ctx: ctx.db.query("brand_new").collect(), component="courier") == []
    assert len(shop.run(lambda ctx: ctx.db.query("orders").collect())) == 1
    assert sum(call.kind == "job" for call in shop.calls) == 1


def test_a_failing_parent_takes_its_children_along(shop: TestBackend) -> None:
    def attempt(ctx: MutationCtx) -> None:
        ctx.run_mutation(components.courier.parcels.send, {"to": "ann", "text": "x"})
        raise ValueError("the parent")

    with pytest.raises(ValueError, match="the parent"):
        shop.run(attempt)
    shop.run_all_scheduled()

    assert texts(shop, components.courier) == []
    assert not any(call.kind == "job" for call in shop.calls)


# --- scheduled functions belong to who scheduled


def test_another_component_cannot_see_or_cancel_a_job(shop: TestBackend) -> None:
    send(shop, components.courier, "slow")
    (job,) = shop.query(components.courier.parcels.jobs)

    shop.run(lambda ctx: ctx.scheduler.cancel(job))
    shop.mutation(components.express.parcels.cancel, {"job": job})

    assert shop.query(components.express.parcels.jobs) == []
    assert shop.run(lambda ctx: ctx.db.system.query("_scheduled_functions").collect()) == []
    assert shop.run(lambda ctx: ctx.db.system.get(job)) is None
    shop.run_all_scheduled()
    assert [parcel["state"] for parcel in shop.query(components.courier.parcels.all_parcels)] == ["delivered"]


# --- mounting


def write_shop(folder: Path, config: str) -> Path:
    """A project whose `convex_config.py` installs what `config` says."""
    folder.mkdir()
    (folder / "convex_config.py").write_text(
        f"from convexpy import define_app\n"
        f"from tests.second_component.config import courier\n\n"
        f"app = define_app()\n{config}\n"
    )
    return folder


def test_an_unmounted_component_keeps_its_data_until_it_is_mounted_again(shop: TestBackend, tmp_path: Path) -> None:
    send(shop, components.courier, "kept")
    handle = shop.query(components.courier.parcels.handle_of_send)
    shop.push(write_shop(tmp_path / "without", 'app.use(courier, name="express")'))

    with pytest.raises(ConvexpyError, match='Child component "courier" not found'):
        shop.run(lambda ctx: ctx.run_query(components.courier.parcels.all_parcels))
    with pytest.raises(ConvexpyError, match="The component 'courier' is not mounted"):
        shop.run(lambda ctx: ctx.run_mutation(handle, {"to": "ann", "text": "x"}))

    shop.push(SHOP)

    assert texts(shop, components.courier) == ["kept"]
    assert shop.query(components.courier.parcels.handle_of_send) == handle


def test_a_new_name_is_a_new_component(shop: TestBackend, tmp_path: Path) -> None:
    send(shop, components.courier, "old")
    renamed = load_application(write_shop(tmp_path / "renamed", 'app.use(courier, name="post")'))
    shop.push(renamed)

    assert texts(shop, components.post) == []
