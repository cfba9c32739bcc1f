"""How a document is read: analysed in an action, left alone for a moment, indexed in a mutation."""

from datetime import timedelta
from typing import Any

from convexpy_workflow import Step, WorkflowManager

from convexpy import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    components,
    internal,
    internal_action,
    internal_mutation,
    internal_query,
    v,
)

from .schema import analysis as analysis_validator
from .text import analyse_text, significant_words

workflow = WorkflowManager(components.workflow)

POSTINGS_MAX = 2_000  # rows one document adds to the index; the rarest words beyond it are not found


@workflow.define(args={"document": v.id("documents")})
async def read(step: Step, document: str) -> None:
    """Survives a crash at any line: what is done stays done, what is not is done after the restart."""
    analysis = await step.run_action(internal.reading.analyse, {"document": document}, retry=True)
    await step.sleep(timedelta(seconds=2))
    await step.run_mutation(internal.reading.index, {"document": document, "analysis": analysis})


@internal_query(args={"document": v.id("documents")}, returns=v.string())
def full_text(ctx: QueryCtx, document: str) -> str:
    """The whole text of a document, for the action."""
    return ctx.db.get(document)["text"]


@internal_action(args={"document": v.id("documents")}, returns=analysis_validator)
async def analyse(ctx: ActionCtx, document: str) -> dict[str, Any]:
    """Read the text. An action, because this may take long and because a better one would ask a service."""
    return analyse_text(await ctx.run_query(internal.reading.full_text, {"document": document}))


@internal_mutation(args={"document": v.id("documents"), "analysis": analysis_validator})
def index(ctx: MutationCtx, document: str, analysis: dict[str, Any]) -> None:
    """Put the document's significant words into the index, once: `timesIndexed` would show a second time."""
    row = ctx.db.get(document)
    for word, count in significant_words(row["text"], analysis["language"]).most_common(POSTINGS_MAX):
        ctx.db.insert("postings", {"word": word, "document": document, "count": count})
    ctx.db.patch(document, {"analysis": analysis, "timesIndexed": row["timesIndexed"] + 1})
