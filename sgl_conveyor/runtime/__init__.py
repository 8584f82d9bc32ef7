"""The one room that knows the SGLang server's insides: plugin, tap, routes, CPU platform."""
