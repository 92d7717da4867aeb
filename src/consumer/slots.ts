/** What came of one take: how much was asked of the queue, and how much was there. */
export interface Taken {
  readonly asked: number
  readonly claimed: number
  /** Others have all there is to have: after so many milliseconds it is worth asking again. */
  readonly waitMs?: number | undefined
}

export interface SlotsOptions {
  readonly concurrency: number
  /** Claims once and works off what it got; tells what the claim brought before it begins to work. */
  readonly take: (claimed: (taken: Taken) => void) => Promise<Taken>
  /** Whether a take that brought less than was asked means that the queue is empty until somebody wakes us. */
  readonly mayRest: () => boolean
  /** How many claims may be under way at once. @default as many as there are slots */
  readonly mostClaims?: () => number
  readonly onError: (error: unknown) => void
}

/**
 * Parallel takes, as many as there is work for: a wake starts one slot, and only a full take starts another.
 *
 * A wake that comes while a claim is under way is remembered, because what it tells of may have been committed after the
 * claim had looked.
 *
 * Claims that are under way together pass over each other's rows, so beyond some of them one waits for another to be answered.
 */
export class Slots {
  readonly #options: SlotsOptions
  readonly #busy = new Set<Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #claiming = 0
  #woken = false
  #open = true

  constructor(options: SlotsOptions) {
    this.#options = options
  }

  get busy(): number {
    return this.#busy.size
  }

  wake(): void {
    if (this.#claiming > 0 || this.#full) this.#woken = true
    else this.#start()
  }

  /** No take begins from now on; those under way go on. */
  close(): void {
    this.#open = false
    for (const waiting of this.#waiting.splice(0)) waiting()
  }

  /** Resolves when no slot is busy. */
  async idle(): Promise<void> {
    while (this.#busy.size > 0) await Promise.all(this.#busy)
  }

  /** Runs something else in a slot, when one is free. */
  lend(work: () => Promise<void>): boolean {
    if (!this.#open || this.#full) return false
    this.#keep(work())
    return true
  }

  /** For so many claims more. */
  get #room(): number {
    const { concurrency, mostClaims } = this.#options
    return Math.max(1, mostClaims?.() ?? concurrency) - this.#claiming
  }

  get #full(): boolean {
    return this.#busy.size >= this.#options.concurrency
  }

  #start(): void {
    if (this.#open && !this.#full) this.#keep(this.#work())
  }

  #keep(work: Promise<void>): void {
    const slot = work.catch(this.#options.onError).finally(() => this.#busy.delete(slot))
    this.#busy.add(slot)
  }

  async #work(): Promise<void> {
    while (this.#open) {
      if (this.#room <= 0) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
        continue
      }
      const { asked, claimed } = await this.#take()
      if (this.#woken) continue
      if (claimed === 0 || (claimed < asked && this.#options.mayRest())) return
    }
  }

  async #take(): Promise<Taken> {
    this.#claiming += 1
    this.#woken = false
    let told = false
    const tell = (taken: Taken) => {
      if (told) return
      told = true
      this.#claiming -= 1
      for (const next of this.#waiting.splice(0, Math.max(0, this.#room))) next()
      if (taken.claimed > 0 && (taken.claimed === taken.asked || this.#woken)) this.#start()
    }
    try {
      return await this.#options.take(tell)
    } finally {
      tell({ asked: 0, claimed: 0 })
    }
  }
}
