"""``python -m concilium``: the command line, where ``concilium`` is not on the search path."""

from concilium.cli.main import main

if __name__ == "__main__":
    main()
