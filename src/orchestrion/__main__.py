"""`python -m orchestrion`: the command line."""

from orchestrion.cli import main

if __name__ == "__main__":
    main()
