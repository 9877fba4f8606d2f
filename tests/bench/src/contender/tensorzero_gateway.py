"""TensorZero's gateway as its package for Python starts it, until it is killed. It prints where it listens."""

import asyncio
import sys

from openai import AsyncOpenAI
from tensorzero import patch_openai_client


async def serve(config):
    client = AsyncOpenAI(api_key="none", base_url="http://127.0.0.1:1")
    patched = await patch_openai_client(client, config_file=config, async_setup=True)
    print(f"listening {patched.base_url}", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve(sys.argv[1]))
