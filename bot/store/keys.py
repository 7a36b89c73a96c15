"""Whether the loaded keys are those that the database was written with."""

from sqlalchemy import LargeBinary, select, type_coerce

from bot.store.encryption import EncryptionError, is_readable
from bot.store.engine import Store
from bot.store.models import Resident, StoredMessage

_SAMPLES = (StoredMessage.body, Resident.name)  # what every station has, from its first day to its last


async def check_keys(store: Store) -> None:
    """Look at the oldest and the newest of what is encrypted; EncryptionError when the key of one is not loaded.

    Whoever went on with another key would write a second station into the same tables: nobody of the first is found.
    """
    async with store.read() as session:
        for column in _SAMPLES:
            written = select(type_coerce(column, LargeBinary)).where(column.is_not(None)).limit(1)
            for order in (column.class_.id.asc(), column.class_.id.desc()):
                blob = (await session.execute(written.order_by(order))).scalar_one_or_none()
                if blob is not None and not is_readable(blob):
                    raise EncryptionError(
                        f"the table {column.class_.__tablename__} was encrypted with a key that is not loaded; "
                        "set security.data_key to that key, or add it to security.previous_keys"
                    )
