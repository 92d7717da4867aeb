import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'

export interface Pooler {
  /** The url of the server behind it, by way of it. */
  readonly url: string
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Looks to a client as PgBouncer does: the key it greets with, process id and secret, is its own and not of the server process
 * behind it. (What else a pooler does, PgBouncer itself must be asked.)
 */
export async function pooler(url: string): Promise<Pooler> {
  const server = new URL(url)
  const sockets = new Set<Socket>()
  const listener = createServer({ noDelay: true }, (client) => {
    const upstream = dial({ port: Number(server.port || 5432), host: server.hostname, noDelay: true })
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => to.destroy()).on('close', () => to.destroy())
    }
    client.pipe(upstream)
    forge(upstream, client)
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const { port } = listener.address() as AddressInfo
  const here = new URL(url)
  here.hostname = '127.0.0.1'
  here.port = String(port)
  return {
    url: here.href,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => listener.close(resolve))
    },
  }
}

const BACKEND_KEY_DATA = 'K'.charCodeAt(0)

// Message by message until the key has gone by: a byte of type, four of length.
function forge(upstream: Socket, client: Socket): void {
  let pending = Buffer.alloc(0)
  const onData = (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 5 && pending.length >= 1 + pending.readUInt32BE(1)) {
      const message = pending.subarray(0, 1 + pending.readUInt32BE(1))
      pending = pending.subarray(message.length)
      if (message[0] === BACKEND_KEY_DATA) {
        message.writeUInt32BE((message.readUInt32BE(5) ^ 0x2a2a2a2a) >>> 0, 5)
        upstream.off('data', onData)
        client.write(Buffer.concat([message, pending]))
        upstream.pipe(client)
        return
      }
      client.write(message)
    }
  }
  upstream.on('data', onData)
}
