import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Proxy extends AsyncDisposable {
  /** The given url, by way of the proxy. */
  readonly url: string
  /** From here on nothing passes and nothing is closed, for connections there are and those to come: a network that has gone away. */
  blackhole(): void
  /** New connections pass again; the old ones stay in the hole. */
  heal(): void
  readonly connections: number
}

/** A TCP proxy before a database. */
export async function proxyBefore(url: string): Promise<Proxy> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let dark = false
  const server = createServer((inbound) => {
    const outbound = connect(Number(target.port), target.hostname)
    for (const socket of [inbound, outbound]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    if (dark) return
    inbound.pipe(outbound)
    outbound.pipe(inbound)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const through = new URL(url)
  through.hostname = '127.0.0.1'
  through.port = String((server.address() as AddressInfo).port)
  return {
    url: through.href,
    get connections() {
      return sockets.size / 2
    },
    blackhole() {
      dark = true
      for (const socket of sockets) socket.unpipe().pause()
    },
    heal() {
      dark = false
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
