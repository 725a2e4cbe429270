"""Words typed by a person: the ``labspine`` command."""
