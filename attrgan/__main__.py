"""`python -m attrgan`: the same as the command `attrgan`."""

from attrgan.cli import main

if __name__ == "__main__":
    main()
