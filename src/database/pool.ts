import type { EventEmitter } from 'node:events'

/** What is asked of a `pg` client; a `PoolClient` is one. */
export interface PgClient {
  // biome-ignore lint/suspicious/noExplicitAny: what pg itself says
  query(config: any): Promise<any>
  release(error?: Error | boolean): void
}

/** What is asked of a `pg` pool. `pg.Pool` fits, and so does what is made like it. */
export interface PgPool<Client extends PgClient = PgClient> {
  connect(): Promise<Client>
  // As pg declares it, so that `Client` is inferred from a `pg.Pool`.
  connect(
    // biome-ignore lint/suspicious/noExplicitAny: what pg itself says
    callback: (error: Error | undefined, client: Client | undefined, done: (release?: any) => void) => void,
  ): void
  readonly options?: object
}

/** What a `pg` client has besides, some of it undocumented: everything is used if it is there. */
export interface ClientParts extends EventEmitter {
  readonly processID?: number | null
  /** Nothing that was asked of it is unanswered. */
  readonly readyForQuery?: boolean
  readonly pipeline?: boolean
  readonly connection?: Partial<Wire>
  getTransactionStatus?(): 'I' | 'T' | 'E' | null
  getTypeParser?(oid: number, format: 'text'): (text: string) => unknown
}

/** The protocol under a client, as its own queries and cursors use it. */
export interface Wire extends EventEmitter {
  readonly stream: { destroy(): void; cork?(): void; uncork?(): void }
  readonly parsedStatements: Record<string, string>
  readonly submittedNamedStatements?: Record<string, string>
  parse(statement: { name: string; text: string; types: readonly number[] }): void
  bind(portal: { statement: string; values: readonly (string | null)[] }): void
  describe(what: { type: 'P'; name: string }): void
  execute(portal: { portal: string }): void
  sync(): void
}

export function partsOf(client: PgClient): ClientParts {
  return client as unknown as ClientParts
}

/** Host, port and database of connection options, without the user and the password. */
export function serverOf(options: unknown): string {
  const { connectionString, host, port, database } = (options ?? {}) as Record<string, unknown>
  if (typeof connectionString === 'string' && URL.canParse(connectionString)) {
    const url = new URL(connectionString)
    return `${url.host || 'localhost'}${url.pathname}`
  }
  const { PGHOST, PGPORT, PGDATABASE } = process.env
  return `${host ?? PGHOST ?? 'localhost'}:${port ?? PGPORT ?? 5432}/${database ?? PGDATABASE ?? ''}`
}

// A pool tells of clients that die while idle by an event that ends the process when nobody listens, and so does a client that
// dies in the moment in which the pool has handed it over: the server may say that it terminates it in the packet of its greeting.
// What either costs is known already: the client is gone, and what is asked of it rejects.
export function quieten(pool: object): void {
  const emitter = pool as Partial<EventEmitter>
  if (emitter.listenerCount?.('error') === 0) emitter.on?.('error', ignore)
  if (!emitter.listeners?.('connect').includes(quietenClient)) emitter.on?.('connect', quietenClient)
}

function quietenClient(client: Partial<EventEmitter>): void {
  client.on?.('error', ignore)
}

export function ignore(): void {}
