"""Which way a destination is reached.

Belongs here: from one entry of `deliveries` in tokengov.yaml to its transport. Does not belong here: the ways
themselves (`delivery_folder`, `delivery_objects`, `delivery_sftp`, `delivery_mail`, `delivery_webhook`).
"""

from pathlib import Path
from urllib.parse import unquote

from resources.delivery_folder import FolderDelivery
from resources.delivery_mail import EmailDelivery
from resources.delivery_objects import ObjectStoreDelivery
from resources.delivery_parcel import Transport
from resources.delivery_webhook import WebhookDelivery
from tokengov_pipelines.delivery_settings import SMTP_URL_VARIABLE, DeliveryKind, DeliverySettings


def transport_of(settings: DeliverySettings, home: Path) -> Transport:
    """The transport of a destination. Nothing is opened and no secret is read before it delivers.

    Args:
        settings: the destination.
        home: the installation's folder, which relative paths start from.
    """
    match settings.kind:
        case DeliveryKind.FOLDER:
            return FolderDelivery((home / Path(settings.to).expanduser()).resolve())
        case DeliveryKind.OBJECT_STORE:
            return ObjectStoreDelivery(settings.to)
        case DeliveryKind.EMAIL:
            return EmailDelivery(settings.recipients, settings.sender or "", SMTP_URL_VARIABLE)
        case DeliveryKind.WEBHOOK:
            return WebhookDelivery(settings.to, settings.variable("TOKEN"))
        case DeliveryKind.SFTP:
            return _sftp(settings, home)


def _sftp(settings: DeliverySettings, home: Path) -> Transport:
    from resources.delivery_sftp import SftpDelivery  # at first use: it loads cryptography

    address = settings.address
    path = address.path.removeprefix("/~/") if address.path.startswith("/~/") else address.path
    return SftpDelivery(
        host=address.hostname or "",
        port=address.port or 22,
        user=unquote(address.username or ""),
        folder=unquote(path).rstrip("/"),
        password_variable=settings.variable("PASSWORD"),
        key_file_variable=settings.variable("KEY_FILE"),
        known_hosts=None if settings.known_hosts is None else home / Path(settings.known_hosts).expanduser(),
        host_key=settings.host_key,
    )
