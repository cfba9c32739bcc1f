"""The component's tables: who writes a row, who deletes it.

A field `x_aside` is the id of the row in `large_values` that holds what is too large for the field `x`.

Order and time live in the rows themselves. *Resolution* n of a run is the n-th piece of news that its handler
consumed, counted from 0 (the start); each step row says during which one it was issued, by which it was resolved and
during which it was withdrawn, and at which instant. Only fired timers have no step, so they have rows of their own.
"""

from __future__ import annotations

from convexpy import define_schema, define_table, v

outcome = v.union(
    v.object({"kind": v.literal("success"), "value": v.any()}),
    v.object(
        {
            "kind": v.literal("failed"),
            "error": v.string(),
            "data": v.optional(v.any()),
            "traceback": v.optional(v.string()),
        }
    ),
    v.object({"kind": v.literal("canceled")}),
)

step_kind = v.literals("query", "mutation", "action", "sleep", "event", "workflow")

schema = define_schema(
    {
        # One row a run. Inserted by `journal.create`, patched by every wave, deleted by `lifecycle.cleanup`.
        "workflows": define_table(
            {
                "name": v.string(),  # path of the handler: "module:name"
                "handler": v.string(),  # function handle of the handler's mutation in the app
                "args": v.optional(v.any()),
                "args_aside": v.optional(v.id("large_values")),
                "state": v.literals("running", "stuck", "done"),
                "result": v.optional(outcome),  # once done
                "result_aside": v.optional(v.id("large_values")),
                "stuck": v.optional(v.any()),  # {kind, text, since_ms, …}: why the code does not fit, while stuck
                "epoch": v.number(),  # raised by cancel: what carries an older one is stale
                "wave": v.number(),  # resolutions consumed so far
                "nonce": v.string(),  # of the last wave; a suspended handler fits only if it carries it
                "now_ms": v.number(),  # the handler's instant at the last resolution
                "started_ms": v.optional(v.number()),  # its instant at resolution 0, once that was consumed
                "finished_ms": v.optional(v.number()),
                "wake_at_ms": v.optional(
                    v.number()
                ),  # not later than the handler's first timer, or the next try of a stuck run
                "wake_job": v.optional(v.string()),
                "journal_rows": v.number(),  # steps and fired timers, and
                "journal_bytes": v.number(),  # what their arguments and outcomes count that lie in their rows, and
                "large_bytes": v.optional(v.number()),  # those that lie in `large_values`, and
                "journal_parts": v.optional(v.number()),  # the items of all lists and objects: all four are bounded
                "handler_log": v.optional(v.array(v.string())),  # what the handler printed before its first news
                "handler_log_aside": v.optional(v.id("large_values")),
                "log_bytes": v.optional(v.number()),  # of all lines kept for the run: bounded
                "version": v.optional(v.number()),  # of the workflow when the run was started; 1 if left out
                "patches": v.optional(  # changes of the code that the run has taken, and when
                    v.array(v.object({"name": v.string(), "resolution": v.number()}))
                ),
                "waves": v.optional(  # whose handler was still in memory, and whose was run again over the journal
                    v.object({"resumed": v.number(), "replayed": v.number()})
                ),
                "runtime": v.string(),  # interpreter that recorded the journal, "cpython-3.11"
                "parent": v.optional(
                    v.object(
                        {"workflowId": v.string(), "position": v.number(), "epoch": v.number(), "handler": v.string()}
                    )
                ),  # the step that this run is
                "on_complete": v.optional(v.string()),  # handle of the app's mutation that hears of the end
                "context": v.optional(v.any()),  # for it
                "context_aside": v.optional(v.id("large_values")),
                "on_complete_error": v.optional(v.string()),
                # {job, error, attempts, next_ms}: a completion that fails and is tried again; see `trouble`
                "trouble": v.optional(v.any()),
            }
        )
        .index("by_name", ["name"])
        .index("by_state", ["state", "name"]),
        # One row a step. Inserted and patched by `journal.commit_wave`, deleted by `lifecycle.cleanup`.
        "steps": define_table(
            {
                "workflow": v.id("workflows"),
                "position": v.number(),
                "kind": step_kind,
                "name": v.string(),
                "function": v.optional(v.string()),  # path, or handle of another component's function
                "args": v.optional(v.any()),
                "args_aside": v.optional(v.id("large_values")),
                "is_named": v.optional(v.boolean()),
                "is_inline": v.optional(v.boolean()),
                "has_unstable_args": v.optional(v.boolean()),
                "delay_ms": v.optional(v.number()),
                "duration_ms": v.optional(v.number()),
                "retry": v.optional(v.any()),
                "state": v.literals("pending", "done", "canceled"),
                "attempts": v.optional(v.number()),  # failed ones so far
                "job": v.optional(v.string()),  # the app's scheduled function that runs it
                "event": v.optional(v.id("events")),  # that it waits for or has consumed
                "child": v.optional(v.string()),  # the run that it has started, maybe of another instance of this
                "child_handler": v.optional(v.string()),  # component, and the handle of that run's handler
                "on_parent_cancel": v.optional(v.literal("abandon")),  # the child outlives its parent
                "issued": v.number(),  # resolution during which the handler asked for it
                "started_ms": v.number(),
                "resolved": v.optional(v.number()),  # resolution that gave its outcome to the handler
                "resolved_now_ms": v.optional(v.number()),
                "outcome": v.optional(outcome),
                "outcome_aside": v.optional(v.id("large_values")),
                "logs": v.optional(v.any()),  # what its function printed, by attempt; see `log_rows`
                "logs_aside": v.optional(v.id("large_values")),
                "handler_log": v.optional(v.array(v.string())),  # what the handler printed while it took the outcome
                "handler_log_aside": v.optional(v.id("large_values")),
                "logged": v.optional(v.number()),  # place of these lines in the run, if there are any
                "completed_ms": v.optional(v.number()),
                "withdrawn": v.optional(v.number()),  # resolution during which the handler gave it up
            }
        )
        .index("by_position", ["workflow", "position"])
        .index("by_state", ["workflow", "state"])
        .index("by_logged", ["workflow", "logged", "position"]),
        # One row a fired timer of the handler's own loop (asyncio.sleep, asyncio.timeout). Inserted by
        # `journal.commit_wave`, deleted by `lifecycle.cleanup`. Timers that never fire leave no row.
        "timers": define_table(
            {
                "workflow": v.id("workflows"),
                "resolution": v.number(),
                "number": v.number(),
                "deadline_ms": v.number(),
                "now_ms": v.number(),
                "handler_log": v.optional(v.array(v.string())),  # what the handler printed when it fired
                "handler_log_aside": v.optional(v.id("large_values")),
                "logged": v.optional(v.number()),  # place of these lines in the run, if there are any
            }
        )
        .index("by_workflow", ["workflow"])
        .index("by_logged", ["workflow", "logged"]),
        # One row an event: sent to a run, awaited by it, or only created. Inserted and patched by the functions of
        # `events`, and by `journal.commit_wave` when a handler takes or gives up one; deleted by `lifecycle.cleanup`.
        "events": define_table(
            {
                "workflow": v.id("workflows"),
                "name": v.string(),
                "state": v.literals("created", "sent", "waiting", "delivered", "consumed"),
                "order": v.number(),  # of the last create, await or send of the run's events
                "outcome": v.optional(outcome),  # while sent or delivered
                "outcome_aside": v.optional(v.id("large_values")),
                "position": v.optional(v.number()),  # of the step that waits for it or has consumed it
                "is_awaited_by_id": v.optional(v.boolean()),  # then no other event of its name will do
            }
        )
        .index("by_order", ["workflow", "order"])
        .index("by_name", ["workflow", "name", "state", "order"]),
        # One row a value that is too large for the row it belongs to. Inserted with that row or with the value, by
        # `journal.create` and `journal.commit_wave`; never changed; deleted by `lifecycle.cleanup`.
        "large_values": define_table({"workflow": v.id("workflows"), "packed": v.bytes()}).index(
            "by_workflow", ["workflow"]
        ),
    }
)
