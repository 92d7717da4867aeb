import { type AddressInfo, createServer, type Socket } from 'node:net'
import pg from 'pg'

export interface TransactionPooler {
  /** Where clients connect; credentials are not asked for again. */
  readonly url: string
  [Symbol.asyncDispose](): Promise<void>
}

const SSL_REQUEST = 80877103
const CANCEL_REQUEST = 80877102
const [QUERY, SYNC, TERMINATE, READY, IDLE] = [...'QSXZI'].map((letter) => letter.charCodeAt(0)) as [
  number,
  number,
  number,
  number,
  number,
]

/**
 * A pooler in transaction mode, as PgBouncer is one: a client has a server connection from the first message of a transaction to
 * the last, and perhaps another one for the next. So what belongs to a session is lost or meets strangers: LISTEN delivers
 * nothing, session locks and named statements stay with a connection that somebody else has now.
 */
export async function transactionPooler(url: string, { servers = 4 } = {}): Promise<TransactionPooler> {
  const pool = new Backends(url, servers)
  const clients = new Set<Socket>()
  const listener = createServer({ noDelay: true }, (client) => {
    clients.add(client)
    client.on('error', () => {})
    client.once('data', (first) => greet(client, first, pool))
  })
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  const here = new URL(url)
  here.hostname = '127.0.0.1'
  here.port = String((listener.address() as AddressInfo).port)
  return {
    url: here.href,
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy()
      await new Promise((resolve) => listener.close(resolve))
      await pool.close()
    },
  }
}

function greet(client: Socket, first: Buffer, pool: Backends): void {
  const code = first.readUInt32BE(4)
  if (code === CANCEL_REQUEST) {
    client.destroy()
    return
  }
  if (code === SSL_REQUEST) {
    client.write('N')
    client.once('data', (next) => greet(client, next, pool))
    return
  }
  client.write(
    Buffer.concat([
      message('R', int32(0)),
      message('S', Buffer.from('client_encoding\0UTF8\0')),
      message('S', Buffer.from('server_version\0' + '18.0\0')),
      message('K', Buffer.concat([int32(4711), int32(42)])),
      message('Z', Buffer.from('I')),
    ]),
  )
  new Conversation(client, pool)
}

/** A client, and the server connection it has at the moment. */
class Conversation {
  readonly #client: Socket
  readonly #pool: Backends
  #backend: Backend | undefined
  #waiting: Buffer[] = []
  #acquiring = false
  #unanswered = 0

  constructor(client: Socket, pool: Backends) {
    this.#client = client
    this.#pool = pool
    eachMessage(client, (bytes) => this.#said(bytes))
    client.on('close', () => this.#left())
  }

  #said(bytes: Buffer): void {
    if (bytes[0] === TERMINATE) {
      this.#client.end()
      return
    }
    if (bytes[0] === QUERY || bytes[0] === SYNC) this.#unanswered += 1
    if (this.#backend) this.#backend.send(bytes)
    else this.#waiting.push(bytes)
    if (!this.#backend && !this.#acquiring) void this.#acquire()
  }

  async #acquire(): Promise<void> {
    this.#acquiring = true
    this.#backend = await this.#pool.take()
    this.#acquiring = false
    if (this.#client.destroyed) {
      this.#left()
      return
    }
    this.#backend.hear((bytes) => this.#answered(bytes))
    for (const bytes of this.#waiting.splice(0)) this.#backend.send(bytes)
  }

  #answered(bytes: Buffer): void {
    this.#client.write(bytes)
    if (bytes[0] !== READY) return
    this.#unanswered -= 1
    if (bytes[5] !== IDLE || this.#unanswered > 0) return
    this.#pool.give(this.#backend!)
    this.#backend = undefined
  }

  // A client that leaves in the middle leaves a transaction behind: its connection is not given to anybody else.
  #left(): void {
    const backend = this.#backend
    this.#backend = undefined
    if (!backend) return
    if (this.#unanswered > 0 || backend.inTransaction) this.#pool.discard(backend)
    else this.#pool.give(backend)
  }
}

class Backend {
  readonly #client: pg.Client
  readonly #stream: Socket
  #hear: (bytes: Buffer) => void = () => {}
  inTransaction = false

  constructor(client: pg.Client) {
    this.#client = client
    this.#stream = (client as unknown as { connection: { stream: Socket } }).connection.stream
    this.#stream.removeAllListeners('data')
    eachMessage(this.#stream, (bytes) => {
      if (bytes[0] === READY) this.inTransaction = bytes[5] !== IDLE
      this.#hear(bytes)
    })
  }

  hear(callback: (bytes: Buffer) => void): void {
    this.#hear = callback
  }

  send(bytes: Buffer): void {
    this.#stream.write(bytes)
  }

  destroy(): void {
    this.#hear = () => {}
    this.#client.on('error', () => {})
    this.#stream.destroy()
  }
}

class Backends {
  readonly #url: string
  readonly #idle: Backend[] = []
  readonly #all = new Set<Backend>()
  readonly #queue: ((backend: Backend) => void)[] = []
  #left: number
  #turn = 0

  constructor(url: string, servers: number) {
    this.#url = url
    this.#left = servers
  }

  // Not the one used last: a client is to meet others' leavings.
  async take(): Promise<Backend> {
    if (this.#left > 0) return await this.#open()
    if (this.#idle.length > 0) return this.#idle.splice(this.#turn++ % this.#idle.length, 1)[0]!
    return await new Promise((resolve) => this.#queue.push(resolve))
  }

  give(backend: Backend): void {
    backend.hear(() => {})
    const next = this.#queue.shift()
    if (next) next(backend)
    else this.#idle.push(backend)
  }

  discard(backend: Backend): void {
    this.#all.delete(backend)
    backend.destroy()
    this.#left += 1
    const next = this.#queue.shift()
    if (next) void this.#open().then(next)
  }

  async close(): Promise<void> {
    for (const backend of this.#all) backend.destroy()
  }

  async #open(): Promise<Backend> {
    this.#left -= 1
    const client = new pg.Client({ connectionString: this.#url })
    client.on('error', () => {})
    await client.connect()
    const backend = new Backend(client)
    this.#all.add(backend)
    return backend
  }
}

function eachMessage(socket: Socket, callback: (bytes: Buffer) => void): void {
  let pending = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk])
    while (pending.length >= 5 && pending.length >= 1 + pending.readUInt32BE(1)) {
      const bytes = pending.subarray(0, 1 + pending.readUInt32BE(1))
      pending = pending.subarray(bytes.length)
      callback(bytes)
    }
  })
}

function message(type: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body])
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}
