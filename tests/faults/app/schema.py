"""Tables of the fault tests' app."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        "counters": define_table({"name": v.string(), "value": v.number()}).index("by_name", ["name"]),
        # Each acknowledged write is one row with a name of its own.
        "rows": define_table({"round": v.string(), "name": v.string()}).index("by_round", ["round"]),
        "jobs": define_table({"round": v.string(), "job": v.id("_scheduled_functions")}).index("by_round", ["round"]),
        # Exactly one row a (run, step), or a step took effect twice.
        "effects": define_table({"round": v.string(), "run": v.string(), "step": v.string()}).index(
            "by_round", ["round"]
        ),
        "runs": define_table({"round": v.string(), "name": v.string(), "workflow": v.string()}).index(
            "by_round", ["round"]
        ),
    }
)
