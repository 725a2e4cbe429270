"""``python -m labspine`` is the ``labspine`` command."""

from .cli.main import run

if __name__ == "__main__":
    run()
