"""What annotations promise holds for calls of a running deployment, of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convexpy.errors import ConvexpyError
from convexpy.testing import TestBackend

SHAPES = """
import msgspec
from dataclasses import dataclass
from convexpy import ActionCtx, Int64, MutationCtx, QueryCtx, action, mutation, query


@dataclass
class Point:
    x: float
    y: float = 0.0


class Shape(msgspec.Struct, rename="camel"):
    corner_points: list[Point]
    area: Int64
    raw: bytes


@query
def origin(ctx: QueryCtx) -> Point:
    return Point(1.5)


@query
def wrong(ctx: QueryCtx) -> Point:
    return Point("left")


@query
def unannotated(ctx: QueryCtx):
    return Point(1.5)


@mutation
def shape(ctx: MutationCtx, corner: Point, **more: str) -> Shape:
    return Shape([corner], Int64(3), b"raw")


@action
async def shapes(ctx: ActionCtx) -> list[Shape]:
    return [Shape([], Int64(3), b"raw")]


@action
def shape_or_none(ctx, is_none: bool) -> Shape | None:
    return None if is_none else Shape([], Int64(3), b"raw")
"""


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A deployment of an app of shapes."""
    folder: Path = tmp_path_factory.mktemp("projects") / "shapes_of_tests"
    folder.mkdir()
    (folder / "shapes.py").write_text(SHAPES)
    with TestBackend(folder) as backend:
        yield backend


def test_instances_come_out_as_objects(backend: TestBackend) -> None:
    plain = {"cornerPoints": [], "area": 3, "raw": b"raw"}

    assert backend.query("shapes:origin") == {"x": 1.5, "y": 0.0}
    assert backend.mutation("shapes:shape", {"corner": {"x": 2.5}, "more": 1}) == {
        **plain,
        "cornerPoints": [{"x": 2.5, "y": 0.0}],
    }
    assert backend.action("shapes:shapes") == [plain]
    assert backend.action("shapes:shape_or_none", {"is_none": False}) == plain
    assert backend.action("shapes:shape_or_none", {"is_none": True}) is None


@pytest.mark.parametrize(
    ("path", "args", "text"),
    [
        ("shapes:wrong", {}, r"(?s)ReturnsValidationError: .*Path: \.x"),
        ("shapes:unannotated", {}, "is not a supported Convex type"),
    ],
)
def test_results_that_do_not_fit_are_refused(backend: TestBackend, path: str, args: dict[str, Any], text: str) -> None:
    with pytest.raises(ConvexpyError, match=text):
        backend.query(path, args)


@pytest.mark.parametrize("args", [{"corner": {"x": "left"}}, {"corner": {"x": 1, "z": 1}}, {"more": 1}])
def test_named_arguments_beside_double_star_are_checked(backend: TestBackend, args: dict[str, Any]) -> None:
    with pytest.raises(ConvexpyError, match="ArgumentValidationError: "):
        backend.mutation("shapes:shape", args)
