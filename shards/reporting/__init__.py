"""The statistics of a set as a page: how long, where, by whom, under which licence, of which classes."""
