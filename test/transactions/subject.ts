/** One library as its user holds it: how a transaction is had, how a row is written in it, and what is none. */
export interface Subject<Tx = unknown> {
  readonly name: string
  /** Its handle is the connection itself: once over, it is part of whatever that connection serves next. */
  readonly handleIsConnection?: true
  /** Opens it on a database with `orders (id text primary key)`. */
  open(url: string): Promise<Opened<Tx>>
}

export interface Opened<Tx> extends AsyncDisposable {
  /** The user's transaction: committed when the work resolves, rolled back when it rejects. */
  transaction(work: (tx: Tx) => Promise<unknown>): Promise<unknown>
  /** A row of the user's, written with the library's own means. */
  insert(tx: Tx, id: string): Promise<unknown>
  /** A statement that Postgres refuses, so that the transaction is aborted. */
  fail(tx: Tx): Promise<unknown>
  /** What looks like a way to the database and is no transaction, each with a word its refusal must hold. */
  readonly pools: readonly (readonly [handle: unknown, advice: string])[]
}
