"""The listening study: people say which pictures and sounds belong together."""
