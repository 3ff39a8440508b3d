"""Stands for the load balancer of a service on the internet: takes TLS at 443 and passes on to 127.0.0.1:8090."""

import asyncio
import ssl


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    there, back = await asyncio.open_connection("127.0.0.1", 8090)
    await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    server = await asyncio.start_server(pass_on, "0.0.0.0", 443, ssl=context)
    await server.serve_forever()


asyncio.run(main())
