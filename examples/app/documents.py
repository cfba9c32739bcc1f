"""What the page calls: hand in a document, watch all of them, look up a word."""

from typing import Annotated, Any

from convexpy import ConvexError, Id, MutationCtx, QueryCtx, internal, mutation, query, v

from .reading import Approval, workflow

DocumentId = Annotated[Id, "documents"]

TITLE_CHARS_MAX = 200
TEXT_CHARS_MAX = 200_000  # stays well below the 1 MiB of a document, whatever the script
LISTED_MAX = 30


@mutation(
    args={"title": v.string(), "text": v.string(), "needsApproval": v.optional(v.boolean())},
    returns=v.id("documents"),
)
def add(ctx: MutationCtx, title: str, text: str, needsApproval: bool = False) -> str:  # noqa: N803  (wire spelling)
    """Keep a document and start its workflow: both are there, or neither."""
    title, text = title.strip(), text.strip()
    if not text:
        raise ConvexError({"code": "empty", "message": "There is no text to read."})
    if len(text) > TEXT_CHARS_MAX:
        raise ConvexError(
            {"code": "tooLong", "message": f"The text has {len(text):,} characters; {TEXT_CHARS_MAX:,} are the most."}
        )
    title = (title or text.splitlines()[0])[:TITLE_CHARS_MAX]

    document = ctx.db.insert("documents", {"title": title, "text": text, "timesIndexed": 0})
    run = workflow.start(ctx, internal.reading.read, {"document": document, "needsApproval": needsApproval})
    ctx.db.patch(document, {"workflow": run})
    return document


@mutation
def answer(ctx: MutationCtx, document: DocumentId, isApproved: bool) -> None:  # noqa: N803
    """Let a document that waits for approval go on, or set it aside."""
    row = ctx.db.get(document)
    if row is None or not _waits_for_approval(ctx, row["workflow"]):
        raise ConvexError({"code": "notWaiting", "message": "This document does not wait for an answer."})
    workflow.send_event(ctx, Approval, workflow_id=row["workflow"], value=isApproved)


@query
def recent(ctx: QueryCtx) -> list[dict[str, Any]]:
    """The newest documents, each with the live state of its workflow."""
    return [_view(ctx, row) for row in ctx.db.query("documents").order("desc").take(LISTED_MAX)]


@query
def one(ctx: QueryCtx, document: DocumentId) -> dict[str, Any] | None:
    """One document with the live state of its workflow; None if there is no such document."""
    row = ctx.db.get(document)
    return _view(ctx, row) if row else None


@query
def search(ctx: QueryCtx, word: str) -> list[dict[str, Any]]:
    """The indexed documents that have a word, those that use it most first."""
    hits = ctx.db.query("postings").with_index("by_word", word=word.strip().casefold()).order("desc").take(LISTED_MAX)
    return [
        {"document": hit["document"], "title": ctx.db.get(hit["document"])["title"], "count": hit["count"]}
        for hit in hits
    ]


def _view(ctx: QueryCtx, row: dict[str, Any]) -> dict[str, Any]:
    """What is shown of a document: not its text, which may be long."""
    run = row["workflow"]
    status = workflow.status(ctx, run)
    return {
        "_id": row["_id"],
        "addedAt": row["_creationTime"],
        "title": row["title"],
        "characters": len(row["text"]),
        "mark": row.get("mark"),
        "analysis": row.get("analysis"),
        "timesIndexed": row["timesIndexed"],
        "workflow": status["type"],
        "outcome": status.get("result"),
        "needsAnswer": status["type"] == "inProgress" and _waits_for_approval(ctx, run),
        "steps": _timeline(ctx, run),
    }


def _timeline(ctx: QueryCtx, run: str) -> list[dict[str, Any]]:
    """The steps of a run as the page draws them: when each began and ended, and those of a nested run within it."""
    return [
        {
            "name": step["name"],
            "kind": step["kind"],
            "isDone": step["completedAt"] is not None,
            "result": None if step["runResult"] is None else step["runResult"]["kind"],
            "failedAttempts": step["attempts"],
            "startedAt": step["startedAt"],
            "completedAt": step["completedAt"],
            "log": [line["text"].splitlines()[0] for line in step["logs"]],
            "steps": [] if step["nestedWorkflowId"] is None else _timeline(ctx, step["nestedWorkflowId"]),
        }
        for step in workflow.list_steps(ctx, run)["page"]
    ]


def _waits_for_approval(ctx: QueryCtx | MutationCtx, run: str) -> bool:
    return any(step["kind"] == "event" for step in workflow.status(ctx, run).get("running", []))
