import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Proxy extends AsyncDisposable {
  /** The given url, by way of the proxy. */
  readonly url: string
  /** From here on nothing passes and nothing is closed, for connections there are and those to come: a network that has gone away. */
  blackhole(): void
  /** New connections pass again; the old ones stay in the hole. */
  heal(): void
  /** The next so many COMMITs are cut on the wire: the server has not seen them, or its answer is lost. To the client it looks the same. */
  cutCommits(when: 'before' | 'after', times?: number): void
  /** The next connection is terminated by the server in the very packet of its greeting. */
  terminateNext(): void
  /** How many COMMITs are still to be cut. */
  readonly toBeCut: number
  readonly connections: number
}

// As a simple query: its length, then the text. As the end of several statements sent together: the prepared one's name.
const isCommit = (chunk: Buffer) => {
  const sent = chunk.toString('latin1')
  return sent.slice(5).toLowerCase() === 'commit\0' || sent.includes('\0posthaste_commit\0')
}

// A greeting ends with the server's being ready for a query.
const isGreeting = (chunk: Buffer) => chunk.toString('latin1').endsWith('Z\0\0\0\x05I')

const TERMINATION = message('E', 'SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0')

function message(type: string, text: string): Buffer {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(text.length + 4, 1)
  return Buffer.concat([head, Buffer.from(text)])
}

export interface ProxyOptions {
  /** How long what the client sends is under way. @default 0 */
  readonly delayMs?: number
}

/** A TCP proxy before a database. */
export async function proxyBefore(url: string, { delayMs = 0 }: ProxyOptions = {}): Promise<Proxy> {
  const target = new URL(url)
  const sockets = new Set<Socket>()
  let dark = false
  let terminating = 0
  let cut = { when: 'before' as 'before' | 'after', times: 0 }
  const cutThere = (inbound: Socket, outbound: Socket, commit: Buffer) => {
    cut.times -= 1
    const destroy = () => {
      inbound.destroy()
      outbound.destroy()
    }
    if (cut.when === 'before') return destroy()
    // Nothing of the answer passes: that is settled before the COMMIT is sent.
    outbound.unpipe(inbound).once('data', destroy).resume()
    outbound.write(commit)
  }
  const terminateThere = (inbound: Socket, outbound: Socket) => {
    terminating -= 1
    outbound.on('data', (chunk: Buffer) => {
      if (!isGreeting(chunk)) return void inbound.write(chunk)
      inbound.end(Buffer.concat([chunk, TERMINATION]))
      outbound.destroy()
    })
  }
  const server = createServer({ noDelay: true }, (inbound) => {
    const outbound = connect({ port: Number(target.port), host: target.hostname, noDelay: true })
    for (const socket of [inbound, outbound]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    if (dark) return
    inbound.on('data', (chunk: Buffer) => {
      if (cut.times > 0 && isCommit(chunk)) cutThere(inbound, outbound, chunk)
      else if (delayMs > 0) setTimeout(() => outbound.write(chunk), delayMs)
      else outbound.write(chunk)
    })
    if (terminating > 0) terminateThere(inbound, outbound)
    else outbound.pipe(inbound)
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
    cutCommits(when, times = 1) {
      cut = { when, times }
    },
    terminateNext() {
      terminating += 1
    },
    get toBeCut() {
      return cut.times
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}
