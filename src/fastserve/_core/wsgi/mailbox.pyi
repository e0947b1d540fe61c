from asyncio import AbstractEventLoop

class Reports:
    loop: AbstractEventLoop
