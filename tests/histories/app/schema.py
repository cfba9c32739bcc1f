"""Tables of the recorded transactions: one for each way in which a value can be stored and looked for."""

from convexpy import define_schema, define_table, v

schema = define_schema(
    {
        # A list in one document, and a list of one row an element.
        "lists": define_table({"key": v.string(), "values": v.array(v.number())}).index("by_key", ["key"]),
        "elements": define_table({"key": v.string(), "position": v.number(), "value": v.number()}).index(
            "by_key_position", ["key", "position"]
        ),
        "registers": define_table({"key": v.string(), "value": v.number()}).index("by_key", ["key"]),
        # Written once, so that who follows one has read nothing of the register but its id.
        "pointers": define_table({"key": v.string(), "register": v.id("registers")}).index("by_key", ["key"]),
        "accounts": define_table({"bank": v.string(), "account": v.number(), "amount": v.number()}).index(
            "by_bank_account", ["bank", "account"]
        ),
        "items": define_table({"group": v.string(), "rank": v.number(), "value": v.number()}).index(
            "by_group_rank", ["group", "rank"]
        ),
        # One row a transaction that writes: by it the commit log tells whose commit is whose.
        "marks": define_table({"mark": v.string()}),
    }
)
