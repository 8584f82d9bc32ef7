import asyncio
async def go():
    process = await asyncio.create_subprocess_exec('true')
    return await process.wait()
assert asyncio.run(go()) == 0
