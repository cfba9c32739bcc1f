"""How a document is read: by two at once, with somebody's approval where that is wanted, then put on the shelves."""

import asyncio
from datetime import timedelta
from typing import Any

from convexpy_workflow import Retry, Step, WorkflowManager, define_event

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

workflow = WorkflowManager(components.workflow, default_retry=Retry(attempts=5, initial=1))
Approval = define_event("approval", v.boolean())

POSTINGS_MAX = 2_000  # rows one document adds to the index; the rarest words beyond it are not found
SHELVES = 4  # a document's words are indexed in so many parts, side by side
APPROVAL_DAYS_MAX = 7  # without an answer the document is set aside

DocumentArgs = {"document": v.id("documents")}


@workflow.define(args={**DocumentArgs, "needsApproval": v.boolean()}, returns=v.string())
async def read(step: Step, document: str, needsApproval: bool) -> str:  # noqa: N803  (wire spelling)
    """Survives a crash at any line: what is done stays done, what is not is done after the restart."""
    analysis, _ = await asyncio.gather(
        step.run_action(internal.reading.analyse, {"document": document}, retry=True),
        step.run_action(internal.reading.classify, {"document": document}, retry=True),
    )
    if needsApproval and not await is_approved(step):
        return "set aside"
    await step.sleep(timedelta(seconds=2))
    await step.run_workflow(internal.reading.shelve, {"document": document, "analysis": analysis})
    return "on the shelves"


async def is_approved(step: Step) -> bool:
    """Wait for a person; for a week, over restarts and deployments."""
    try:
        async with asyncio.timeout(timedelta(days=APPROVAL_DAYS_MAX).total_seconds()):
            answer: bool = await step.await_event(Approval)
            return answer
    except TimeoutError:
        return False


@workflow.define(args={**DocumentArgs, "analysis": analysis_validator})
async def shelve(step: Step, document: str, analysis: dict[str, Any]) -> None:
    """A workflow of its own, run as a step of `read`: all shelves at once, then the entry that says it is done."""
    args = {"document": document, "language": analysis["language"]}
    calls = (step.run_mutation(internal.reading.index, {**args, "shelf": shelf}) for shelf in range(SHELVES))
    await asyncio.gather(*calls)
    await step.run_mutation(internal.reading.finish, {"document": document, "analysis": analysis})


@internal_query(args=DocumentArgs, returns=v.string())
def full_text(ctx: QueryCtx, document: str) -> str:
    """The whole text of a document, for the actions."""
    return ctx.db.get(document)["text"]


@internal_action(args=DocumentArgs, returns=analysis_validator)
async def analyse(ctx: ActionCtx, document: str) -> dict[str, Any]:
    """Read the text. An action, because this may take long and because a better one would ask a service."""
    analysis = analyse_text(await ctx.run_query(internal.reading.full_text, {"document": document}))
    print(f"{analysis['words']} words in {analysis['language']}")
    return analysis


@internal_action(args=DocumentArgs)
async def classify(ctx: ActionCtx, document: str) -> None:
    """Ask for a shelf mark. Stands for a service that is busy the first time, so that a retry can be seen."""
    attempt = await ctx.run_mutation(internal.reading.note_attempt, {"document": document})
    if attempt == 1:
        raise ConnectionError("the catalogue is busy")
    await ctx.run_mutation(internal.reading.set_mark, {"document": document})


@internal_mutation(args=DocumentArgs, returns=v.number())
def note_attempt(ctx: MutationCtx, document: str) -> float:
    """Count a call of the catalogue; gives how many there have been."""
    attempts = ctx.db.get(document).get("attempts", 0) + 1
    ctx.db.patch(document, {"attempts": attempts})
    return attempts


@internal_mutation(args=DocumentArgs)
def set_mark(ctx: MutationCtx, document: str) -> None:
    """Write the shelf mark: the same again if the action is tried again."""
    row = ctx.db.get(document)
    ctx.db.patch(document, {"mark": f"{row['title'][:3].upper()} {len(row['text']) % 1000:03}"})


@internal_mutation(args={**DocumentArgs, "language": v.string(), "shelf": v.number()})
def index(ctx: MutationCtx, document: str, language: str, shelf: float) -> None:
    """Put one shelf's part of the document's significant words into the index."""
    words = significant_words(ctx.db.get(document)["text"], language).most_common(POSTINGS_MAX)
    for word, count in words[int(shelf) :: SHELVES]:
        ctx.db.insert("postings", {"word": word, "document": document, "count": count})


@internal_mutation(args={**DocumentArgs, "analysis": analysis_validator})
def finish(ctx: MutationCtx, document: str, analysis: dict[str, Any]) -> None:
    """Show what was found, once: `timesIndexed` would show a second time."""
    row = ctx.db.get(document)
    ctx.db.patch(document, {"analysis": analysis, "timesIndexed": row["timesIndexed"] + 1})
