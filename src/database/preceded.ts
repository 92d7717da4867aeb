import { Parses } from './parses.ts'
import { type PgClient, partsOf, type Wire } from './pool.ts'
import type { Prepared } from './volley.ts'

type Callback = (error: unknown, result?: unknown) => void

/** As much of pg's own query as the client that runs it touches. */
interface PgQuery {
  readonly name?: string | undefined
  readonly text?: string | undefined
  readonly _result?: unknown
  callback?: Callback
  binary?: boolean
  requiresPreparation(): boolean
  submit(wire: Wire): Error | null
  handleRowDescription(message: unknown): void
  handleDataRow(message: unknown): void
  handlePortalSuspended(wire: Wire): void
  handleEmptyQuery(wire: Wire): void
  handleCommandComplete(message: unknown, wire: Wire): void
  handleReadyForQuery(wire: Wire): void
  handleCopyInResponse(wire: Wire): void
  handleCopyData(message: unknown, wire: Wire): void
  handleError(error: unknown, wire: Wire): void
}

type PgQueryClass = new (config: unknown, values?: unknown) => PgQuery

/**
 * Somebody's query with statements of ours before it, in its round trip: one Sync is behind them all, so that it is not run when
 * they fail. The query is pg's own, and answers as it always does.
 */
export class Preceded {
  readonly answer: Promise<unknown>
  readonly #before: readonly Prepared[]
  readonly #query: PgQuery
  readonly #wire: Wire
  readonly #parses: Parses
  #unanswered: number
  #refusal: Error | undefined

  /** Undefined for what cannot be: the client is none of pg's, or the query is of the simple protocol. */
  static of(client: PgClient, before: readonly Prepared[], config: unknown, values?: unknown): Preceded | undefined {
    const { Query } = client.constructor as { readonly Query?: PgQueryClass }
    if (Query === undefined) return undefined
    const query = new Query(config, values)
    return query.requiresPreparation() && !query.callback ? new Preceded(client, before, query) : undefined
  }

  private constructor(client: PgClient, before: readonly Prepared[], query: PgQuery) {
    this.#before = before
    this.#query = query
    this.#wire = partsOf(client).connection as Wire
    this.#parses = new Parses(this.#wire)
    this.#unanswered = before.length
    this.answer = new Promise((resolve, reject) => {
      query.callback = (error, result) => (error ? reject(error) : resolve(result))
    }).catch((error) => {
      // The stack of the caller is of more use than that of the socket.
      if (error instanceof Error) Error.captureStackTrace(error)
      throw error
    })
  }

  // By its name the client notes what was parsed: ours come first, and are noted by us.
  get name(): string | undefined {
    return this.#parses.open > 0 ? undefined : this.#query.name
  }

  get text(): string | undefined {
    return this.#query.text
  }

  get _result(): unknown {
    return this.#query._result
  }

  get callback(): Callback | undefined {
    return this.#query.callback
  }

  set callback(callback: Callback) {
    this.#query.callback = callback
  }

  get binary(): boolean | undefined {
    return this.#query.binary
  }

  set binary(binary: boolean) {
    this.#query.binary = binary
  }

  submit(wire: Wire): null {
    const { stream } = wire
    stream.cork?.()
    try {
      for (const statement of this.#before) this.#send(statement)
      this.#refusal = this.#query.submit(wire) ?? undefined
      if (this.#refusal) wire.sync()
    } finally {
      stream.uncork?.()
    }
    return null
  }

  #send(statement: Prepared): void {
    this.#parses.ask(statement)
    this.#wire.bind({ statement: statement.name, values: [] })
    this.#wire.execute({ portal: '' })
  }

  handleCommandComplete(message: unknown, wire: Wire): void {
    if (this.#unanswered > 0) this.#unanswered -= 1
    else this.#query.handleCommandComplete(message, wire)
  }

  handleReadyForQuery(wire: Wire): void {
    this.#parses.end()
    if (this.#refusal) this.#query.handleError(this.#refusal, wire)
    else this.#query.handleReadyForQuery(wire)
  }

  handleError(error: unknown, wire: Wire): void {
    this.#parses.end()
    if (this.#query.name !== undefined) delete wire.submittedNamedStatements?.[this.#query.name]
    this.#query.handleError(error, wire)
  }

  handleRowDescription(message: unknown): void {
    this.#query.handleRowDescription(message)
  }

  handleDataRow(message: unknown): void {
    this.#query.handleDataRow(message)
  }

  handlePortalSuspended(wire: Wire): void {
    this.#query.handlePortalSuspended(wire)
  }

  handleEmptyQuery(wire: Wire): void {
    this.#query.handleEmptyQuery(wire)
  }

  handleCopyInResponse(wire: Wire): void {
    this.#query.handleCopyInResponse(wire)
  }

  handleCopyData(message: unknown, wire: Wire): void {
    this.#query.handleCopyData(message, wire)
  }
}
