"""Substitutes the load balancer of a service on the internet: accepts TLS on 443 and forwards to 127.0.0.1:8090."""

import asyncio
import ssl


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", 8090)
    copies = copy(reader, upstream_writer), copy(upstream_reader, writer)
    await asyncio.gather(*copies, return_exceptions=True)


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
    server = await asyncio.start_server(forward, "0.0.0.0", 443, ssl=context)
    await server.serve_forever()


asyncio.run(main())
