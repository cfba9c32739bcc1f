"""What an app is written with: decorators, references, schema, components, `ctx`; and how a folder becomes an app."""
