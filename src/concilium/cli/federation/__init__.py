"""``concilium federation …``: the same study between hospitals, one file a command."""
