import type { Wire } from './pool.ts'

interface Named {
  readonly name: string
  readonly text: string
}

/** Has statements parsed that a connection does not know yet, and remembers those that were. */
export class Parses {
  readonly #wire: Wire
  readonly #asked: Named[] = []

  constructor(wire: Wire) {
    this.#wire = wire
  }

  /** Statements whose parsing is yet to be confirmed. */
  get open(): number {
    return this.#asked.length
  }

  ask({ name, text }: Named): void {
    if (this.#wire.parsedStatements[name] !== undefined) return
    if (this.#asked.length === 0) this.#wire.on('parseComplete', this.#parsed)
    this.#asked.push({ name, text })
    this.#wire.parse({ name, text, types: [] })
  }

  /** No answer is awaited any more. */
  end(): void {
    this.#wire.off('parseComplete', this.#parsed)
    this.#asked.length = 0
  }

  // In the order in which they were sent; a statement that fails later has been parsed all the same.
  readonly #parsed = (): void => {
    const { name, text } = this.#asked.shift()!
    this.#wire.parsedStatements[name] = text
    if (this.#asked.length === 0) this.#wire.off('parseComplete', this.#parsed)
  }
}
