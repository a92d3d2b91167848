"""The listening study: raters judge which images and sounds belong together."""
