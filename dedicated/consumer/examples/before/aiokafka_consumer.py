"""What is left for after_python.rs: an aiokafka consumer that commits after each record. See ../../../../docs/tiers.md."""

import asyncio
import json
import os

from aiokafka import AIOKafkaConsumer


async def store(statement):
    await asyncio.sleep(float(os.environ.get("STORE_MS", "2")) / 1000)
    print(statement["id"], flush=True)


async def main():
    consumer = AIOKafkaConsumer(
        os.environ["TOPIC"], bootstrap_servers=os.environ["BROKERS"], group_id=os.environ["GROUP"],
        enable_auto_commit=False, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async for message in consumer:
            await store(json.loads(message.value))
            await consumer.commit()
    finally:
        await consumer.stop()


asyncio.run(main())
