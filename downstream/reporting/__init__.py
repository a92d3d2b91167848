"""Tables of the results of many runs, beside published figures."""
