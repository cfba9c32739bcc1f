"""Tables of the client tests' app."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "counters": define_table({"name": v.string(), "value": v.number()}).index("by_name", ["name"]),
        "messages": define_table({"channel": v.string(), "body": v.string()})
        .index("by_channel", ["channel"])
        .index("by_body", ["channel", "body"]),
        # What workflow steps leave behind: exactly one row a (run, step), or a step took effect twice.
        "effects": define_table({"run": v.string(), "step": v.string()}).index("by_run", ["run"]),
        "runs": define_table({"name": v.string(), "workflow": v.string()}).index("by_name", ["name"]),
    }
)
