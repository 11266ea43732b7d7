"""``INSTALLED_APPS = [..., "switchover"]``: the system checks."""

from django.apps import AppConfig
from django.core import checks


class SwitchoverConfig(AppConfig):
    name = "switchover"
    label = "switchover"
    verbose_name = "Switchover"

    def ready(self) -> None:
        from switchover.checks import check_server, check_settings

        checks.register(check_settings)
        checks.register(check_server, checks.Tags.database)
