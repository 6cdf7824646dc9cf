"""What is left for after_python.rs: a FastStream subscriber with a pydantic model. See ../../../../docs/tiers.md."""

import asyncio
import os

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker
from pydantic import BaseModel


class Statement(BaseModel):
    id: str
    verb: dict


broker = KafkaBroker(os.environ["BROKERS"])
app = FastStream(broker)


@broker.subscriber(os.environ["TOPIC"], group_id=os.environ["GROUP"], auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR)
async def handle(statement: Statement) -> None:
    await asyncio.sleep(float(os.environ.get("STORE_MS", "2")) / 1000)
    print(statement.id, flush=True)


asyncio.run(app.run())
