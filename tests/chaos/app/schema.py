"""What the runs leave behind, to be counted."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        # A run that a client has started, by a name of the client's own, so that starting it again does nothing.
        "runs": define_table({"name": v.string(), "workflow": v.string()}).index("by_name", ["name"]),
        # What a mutation step has done: there must be one for each step that succeeded, and no other.
        "effects": define_table({"run": v.string(), "label": v.string()}).index("by_run", ["run"]),
        # An event that a client has sent to a run.
        "told": define_table({"run": v.string(), "event": v.string()}).index("by_event", ["run", "event"]),
        # A run has heard of its end.
        "ends": define_table({"run": v.string(), "kind": v.string()}).index("by_run", ["run"]),
        # Attempts of an action, which fails as often as its program says.
        "attempts": define_table({"run": v.string(), "label": v.string()}).index("by_label", ["run", "label"]),
    }
)
